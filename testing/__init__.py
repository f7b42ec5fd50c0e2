"""What the suites and the bench share: waiting, free ports, models and loads whose answers are known."""
