"""`verify disruptions` disturbs an installation on Kubernetes that is in use, and counts what its clients see.

A Job in the cluster sends the requests, because a port-forward ends with its pod. It writes what it has counted to its
log, every second. The command itself runs on your machine. It calls kubectl, and reads that log before and after each
disruption.
"""
