"""`vllm serve` on a CPU with sleep mode: same command line. vLLM refuses `--enable-sleep-mode` there, because its CPU worker frees nothing when it sleeps; the endpoints,
the scheduler's pause, the queueing and the answers are the real ones, and those are what is tested."""
import sys

from vllm.platforms.interface import Platform

Platform.is_sleep_mode_available = lambda self: True

if __name__ == '__main__':
    from vllm.entrypoints.cli.main import main

    sys.exit(main())
