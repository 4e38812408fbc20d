"""Warden's HTTP interface, which QRMI calls `pasqal-local`.

Written from the wire behaviour that unmodified `qrmi` clients show; docs/migrate-from-warden.md lists what differs.
"""
