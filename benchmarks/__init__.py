"""What training costs: `python -m benchmarks` measures fashionreg beside other ways to train the same network."""
