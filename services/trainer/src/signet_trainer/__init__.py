"""Trains Iris with Lightning and registers it in MLflow behind its signature.

The names below are what the rest of Signet knows this training by.
"""

EXPERIMENT = "iris_classification"
MODEL = "iris_classification"
ACCURACY_TAG = "test_acc"
GATE_TAG = "gate.reason"
DIGEST_TAG = "serving.digest"
