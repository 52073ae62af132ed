# shellcheck shell=bash disable=SC2034,SC2154 # shared with bench/run
#
# Enqueue of 1 and of 100 per transaction (W1, W2).
#
# The flush bounds one at a time, so the most that can be asked there is to be
# no slower than a plain INSERT.

counted=enqueued
compare enqueue_1 "enqueue of 1" "textbook: enqueue_one" "job_queue: enqueue_one"
mark job_queue textbook 0.95 1.0

batch=100
compare enqueue_100 "enqueue of 100" "textbook: enqueue_many" "job_queue: enqueue_many"
mark job_queue textbook 1.0 1.4
