"""What a script may use: output, processes, memory, processor time, files."""

import psutil

from tests.rigs.sandboxes import Outcome, Place, bash, python

FLOODS = {
    "yes": "printed more than 1000000 bytes on standard output (output_bytes)",
    "yes >&2": "printed more than 1000000 bytes on standard error (output_bytes)",
    "head -c 100M /dev/zero": "printed more than 1000000 bytes on standard output (output_bytes)",
    "echo short; head -c 600000 /dev/zero; sleep 60": "printed a line of more than 500000 bytes (line_bytes)",
}


def test_a_flood_is_stopped(place: Place) -> None:
    outcomes = place.run(
        *(
            bash(content, output_bytes=1_000_000, line_bytes=500_000 if "line" in limit else 10**9)
            for content, limit in FLOODS.items()
        )
    )
    for (content, limit), outcome in zip(FLOODS.items(), outcomes, strict=True):
        assert outcome.error == "ScriptFailed", content
        assert outcome.text == f"script 'hostile' {limit} and was ended", content


def test_output_up_to_the_limit_comes_through_and_the_end_of_standard_error_is_kept(place: Place) -> None:
    outcome = place.one(bash("head -c 1000000 /dev/zero | tr '\\0' x; seq 100000 >&2; exit 0", output_bytes=1_000_000))
    assert outcome.stdout == "x" * 1_000_000
    assert len(outcome.stderr) == 64 * 1024
    assert outcome.stderr.endswith("99999\n100000\n")


BOMBS = {
    "forks": "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass",
    "jumps": "import os\nwhile True:\n    try:\n        if os.fork(): os._exit(0)\n    except OSError: pass",
    "orphans": (
        "import os, time\n"
        "while True:\n"
        "    try:\n"
        "        if os.fork() == 0:\n"
        "            os.setsid(); os.fork(); time.sleep(1000)\n"
        "    except OSError: pass"
    ),
}


def test_a_fork_bomb_does_not_go_off(place: Place) -> None:
    before = len(psutil.pids())
    *outcomes, other = place.run(
        *(python(bomb, timeout_s=1.5, cpu_s=3, processes=32) for bomb in BOMBS.values()),
        bash("sleep 0.5; echo fine"),
    )
    for bomb, outcome in zip(BOMBS, outcomes, strict=True):
        if bomb != "jumps":  # whose first process ends at once, and all with it
            assert outcome.error in {"ScriptFailed", "ScriptTimeout"}, bomb
    assert other == Outcome(stdout="fine\n")
    assert len(psutil.pids()) < before + 30


HOGS = {
    "alone": "x = []\nwhile True: x.append(bytearray(10**7))",
    "together": (
        "import os, time\nfor _ in range(8):\n    if os.fork() == 0: break\nx = bytearray(40 * 10**6)\ntime.sleep(60)"
    ),
    "shared": ("import mmap\nx = []\nwhile True:\n    x.append(mmap.mmap(-1, 10**7)); x[-1].write(bytes(10**7))"),
}


def test_a_memory_hog_is_stopped(place: Place) -> None:
    outcomes = place.run(*(python(hog, memory_mb=128, timeout_s=30.0) for hog in HOGS.values()))
    for case, outcome in zip(HOGS, outcomes, strict=True):
        assert outcome.error == "ScriptFailed", case
        assert "used more than its 128 MB of memory (memory_mb)" in outcome.text, case


def test_memory_that_processes_share_counts_once(place: Place) -> None:
    content = (
        "import os, time\nx = bytearray(60 * 10**6)\nfor _ in range(6):\n    if os.fork() == 0: break\ntime.sleep(0.5)"
    )
    assert place.one(python(content, memory_mb=128)) == Outcome()


def test_processor_time_is_limited(place: Place) -> None:
    spin = "while :; do :; done"
    for outcome in place.run(bash(spin, cpu_s=1), bash(f"({spin}) & ({spin}) & wait", cpu_s=1)):
        assert outcome.error == "ScriptFailed"
        assert "used more than its 1 s of processor time (cpu_s)" in outcome.text


FILLS = {
    "one file": "head -c 10G /dev/zero >$HOME/file",
    "files": "for n in $(seq 100); do head -c 500K /dev/zero >$HOME/$n || exit 1; done; sleep 60",
    "empty files": "mkdir x; cd x; for n in $(seq 6000); do : >$n; done; sleep 60",
}


def test_the_disk_is_not_filled(place: Place) -> None:
    outcomes = place.run(*(bash(content, file_bytes=5_000_000, cpu_s=20) for content in FILLS.values()))
    for case, outcome in zip(FILLS, outcomes, strict=True):
        assert outcome.error == "ScriptFailed", case
        assert "file_bytes" in outcome.text, case


def test_a_write_path_is_not_filled_by_one_file(place: Place) -> None:
    target = place.out / "large"
    outcome = place.one(bash(f"head -c 10G /dev/zero >{target}", write=[str(place.out)], file_bytes=5_000_000))
    assert outcome.error == "ScriptFailed"
    assert "file_bytes" in outcome.text
    assert target.stat().st_size <= 5_000_000
    target.unlink()


def test_there_is_no_other_memory_to_fill(place: Place) -> None:
    content = """
import ctypes, os
for path in ("/x", "/dev/x", "/dev/shm/x", "/run/x", "/var/tmp/x", "/proc/x", "/etc/x", "/usr/x"):
    try:
        open(path, "w").write("x")
        print("wrote", path)
    except OSError: pass
libc = ctypes.CDLL(None, use_errno=True)
if hasattr(os, "memfd_create"):
    try: os.memfd_create("x"); print("memfd")
    except OSError: pass
if libc.shmget(0, 4096, 0o1600) >= 0: print("shmget")
"""
    assert place.one(python(content)) == Outcome()


def test_a_run_folder_that_resists_is_removed(place: Place) -> None:
    script = """
        mkdir closed && touch closed/file && (chmod 000 closed || true)
        python3 - <<'EOF'
import os
for _ in range(2000):
    os.mkdir("d"); os.chdir("d")
EOF
        ln -s / link
        exit 0
    """
    assert place.one(bash(script)).error in {"", "ScriptFailed"}
