"""Recordings of sessions (`.ggrec`): written by a proxy, replayed against any server.

Source of the format: docs/reference/ggrec.md.
"""
