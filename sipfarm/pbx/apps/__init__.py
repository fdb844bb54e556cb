"""The stock applications, one file each."""
