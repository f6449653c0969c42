"""Stand-ins for pd-server and tikv-server: they take the real command line and configuration, and
serve the ports with TLS, but keep no keys. Tests deploy them; every record of such a run says so.
"""
