"""What is mended in other people's packages, one module a package.

Each says what is wrong there, in which version it was seen, and where it is reported. Each has a test that the fault is still
in the installed version: when that test fails, the patch can go.
"""
