cd /work/hA/checkers/porcupine-py/rust && cargo build --release 2>&1 | grep -E "^(warning|error)|-->|Finished" | head -40
