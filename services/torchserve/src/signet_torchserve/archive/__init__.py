"""What lies on disk: a version's archive, its digest and golden answers, and the store that keeps them."""
