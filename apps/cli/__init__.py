"""The command line. Nothing here imports torch, numba, numpy or Pillow before a command needs it."""
