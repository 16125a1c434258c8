"""GENERATED from protos/ by protos/generate.py; edit the .proto files instead."""
