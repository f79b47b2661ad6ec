"""What happens to files, runs and studies when everything goes wrong: `make stress`, `docs/reliability.md`."""
