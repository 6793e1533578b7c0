"""What is fast, measured as ratios against named recipes; see README.md."""
