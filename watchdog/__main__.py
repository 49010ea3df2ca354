"""Lets `python -m watchdog` be the `watchdog` command. It must never do anything else."""

from watchdog.cli.main import main

if __name__ == "__main__":
    main()
