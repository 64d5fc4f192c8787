"""The command `circuit-reuse`: the library on a command line, and the workflow's runs by a shorter name.

circuit-reuse --help
"""
