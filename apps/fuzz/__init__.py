"""Fuzzing: files that were changed in many ways are given to every codec, to see that nothing but its errors come."""
