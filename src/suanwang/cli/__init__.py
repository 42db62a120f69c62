"""The command line: it reads files and flags, asks the server or compiles in process, and shows what came of it."""
