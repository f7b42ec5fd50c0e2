"""The door's side of the client: who may come in from a network, and the certificate that they see."""
