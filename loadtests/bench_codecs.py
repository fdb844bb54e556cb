"""What does a frame of 20 ms cost in each codec, encoded and decoded?

`python -m loadtests.bench_codecs [--frames N] [--cpu N] [--json FILE]` runs `codec_cost`, pinned to
one core, over a signal like speech, and prints microseconds of CPU for a frame: the least of seven
rounds. Beside our own codecs stands what they are instead of: G.722 and G.711 of spandsp in the
same program, and of libavcodec through PyAV, decoding ten seconds a call. A codec that allocates
memory for a frame is a fault: the exit status is 1 then.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from time import thread_time_ns
from typing import Any

import av
import numpy as np

from loadtests.cpu import model_name
from loadtests.native_programs import build_programs
from sipfarm.native import CodecEncoder, CodecFormat, build_info

ROUNDS = 7
SECONDS = 10


def measured(program: Path, frames: int, cpu: int) -> list[dict[str, Any]]:
    command = ["taskset", "-c", str(cpu), str(program), str(frames)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def libavcodec_decode_us(codec: str, coding: CodecFormat) -> float:
    """Per frame of 20 ms, out of one packet so long that Python's part does not count."""
    draw = np.random.default_rng(1)
    pcm = draw.normal(0, 3_000, coding.sample_rate_hz * SECONDS).astype(np.int16).tobytes()
    encoder = CodecEncoder(coding)
    size = coding.sample_rate_hz // 50 * 2
    whole = b"".join(encoder.encode(pcm[at : at + size]) for at in range(0, len(pcm), size))
    context = av.CodecContext.create(codec, "r")
    context.sample_rate = coding.sample_rate_hz
    context.layout = "mono"
    least = float("inf")
    for _ in range(ROUNDS):
        begun = thread_time_ns()
        context.decode(av.Packet(whole))
        least = min(least, (thread_time_ns() - begun) / 1e3)
    return least / (SECONDS * 50)


def table(rows: list[dict[str, Any]]) -> str:
    lines = [f"{'codec':24} {'rate':>6} {'bytes':>6} {'encode us':>10} {'decode us':>10}"]
    for row in rows:
        head = f"{row['name']:24} {row['rate_hz']:6} {row['bytes']:6.1f}"
        encode = "" if row["encode_us"] is None else f"{row['encode_us']:.2f}"
        lines.append(f"{head} {encode:>10} {row['decode_us']:10.2f}")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--frames", type=int, default=1_000, help="frames in a round")
    parser.add_argument("--cpu", type=int, default=(os.cpu_count() or 1) - 1)
    parser.add_argument("--json", type=Path, help="also write the results here")
    options = parser.parse_args()
    program = build_programs("codec_cost")["codec_cost"]
    rows = measured(program, options.frames, options.cpu)
    os.sched_setaffinity(0, {options.cpu})
    for name, codec, coding in (
        ("G722 of libavcodec", "g722", CodecFormat("G722", 8_000, 16_000)),
        ("PCMU of libavcodec", "pcm_mulaw", CodecFormat("PCMU", 8_000, 8_000)),
    ):
        decode_us = libavcodec_decode_us(codec, coding)
        rows.append(
            {"name": name, "rate_hz": coding.sample_rate_hz, "encode_us": None,
             "decode_us": decode_us, "bytes": 160.0, "allocations": 0}
        )  # fmt: skip
    print(table(rows))
    record = {
        "bench": "codecs",
        "build": build_info(),
        "cpu": model_name(),
        "python": platform.python_version(),
        "load_average": os.getloadavg()[0],
        "frames": options.frames,
        "codecs": rows,
    }
    if options.json is not None:
        options.json.write_text(json.dumps(record, indent=1), encoding="utf-8")
    allocating = [row["name"] for row in rows if row["allocations"]]
    if allocating:
        print(f"these allocate for a frame: {', '.join(allocating)}", file=sys.stderr)
    return 1 if allocating else 0


if __name__ == "__main__":
    sys.exit(main())
