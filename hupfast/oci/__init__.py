"""
Bundles in OCI registries: an artifact with one layer for each member of the bundle.

reference.py: oci:// addresses. artifact.py: the manifest, and the bundle that it stands for.
challenge.py, token.py: logging in. registry.py: what a registry is asked. push.py, pull.py: a whole bundle.
hupfast.source.oci reads one in place.
"""
