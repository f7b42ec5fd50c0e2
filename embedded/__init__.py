"""Runs the services of Signet as plain processes of one machine."""
