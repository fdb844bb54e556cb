"""The scriptable softphone and the tools that listen to what it heard."""
