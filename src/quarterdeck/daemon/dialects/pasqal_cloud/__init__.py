"""The HTTP interface of Pasqal Cloud: its SDK, Pulser's remote backends, QRMI `pasqal-cloud` and CUDA-Q's job routes.

Written from what the unmodified clients send and read; docs/pasqal-cloud.md lists the routes and what differs.
"""
