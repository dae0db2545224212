"""servetwin."""
