"""The parts of the softphone that do I/O: pjsua2, its child process, wav files."""
