EXTENSION  = job_queue
EXTVERSION := $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" $(EXTENSION).control)

MODULE_big = job_queue
OBJS = \
	src/args.o \
	src/bgw.o \
	src/catalog.o \
	src/chunk.o \
	src/claim.o \
	src/clock.o \
	src/database.o \
	src/due.o \
	src/enqueue.o \
	src/fault.o \
	src/finish.o \
	src/flush.o \
	src/guc.o \
	src/heartbeat.o \
	src/hooks.o \
	src/inspect.o \
	src/job_queue.o \
	src/lanes.o \
	src/launcher.o \
	src/lease.o \
	src/maintenance.o \
	src/owner.o \
	src/queue.o \
	src/ready.o \
	src/ready_slot.o \
	src/reap.o \
	src/refill.o \
	src/retry.o \
	src/shmem.o \
	src/store.o \
	src/timer.o \
	src/token.o \
	src/trigger.o \
	src/wait.o \
	src/waiter.o \
	src/xact.o

# The install script, in order.
SQL_PARTS = \
	sql/00_schema.sql \
	sql/10_tables.sql \
	sql/20_types.sql \
	sql/25_internal.sql \
	sql/30_queues.sql \
	sql/40_produce.sql \
	sql/50_work.sql \
	sql/55_stages.sql \
	sql/60_ask.sql \
	sql/70_maintenance.sql \
	sql/75_verify.sql \
	sql/80_testing.sql \
	sql/90_privileges.sql

DATA        = $(wildcard sql/$(EXTENSION)--*--*.sql)
DATA_built  = sql/$(EXTENSION)--$(EXTVERSION).sql
EXTRA_CLEAN = $(DATA_built)

PG_CPPFLAGS = -DJOB_QUEUE_VERSION='"$(EXTVERSION)"'
PG_CFLAGS   = -Wall -Wextra -Wno-unused-parameter
ifeq ($(WERROR),1)
PG_CFLAGS  += -Werror
endif
# The server's flags and headers were configured for gcc; clang warns of what
# it does not know.
ifneq (,$(findstring clang,$(CC)))
PG_CFLAGS  += -Wno-unknown-warning-option -Wno-ignored-optimization-argument \
	-Wno-ignored-attributes
endif

# pg_regress looks for expected/ in the output directory before the input one,
# so inputs can live under test/ and outputs in expected/.
REGRESS       := $(sort $(patsubst test/sql/%.sql,%,$(wildcard test/sql/*.sql)))
REGRESS_OPTS   = --inputdir=test --load-extension=$(EXTENSION)
ISOLATION     := $(sort $(patsubst test/specs/%.spec,%,$(wildcard test/specs/*.spec)))
ISOLATION_OPTS = --inputdir=test --outputdir=. --load-extension=$(EXTENSION)
TAP_TESTS      = 1
PROVE_TESTS    = test/t/*.pl

# Both kinds keep their expected output in expected/, under the test's name.
ifneq (,$(filter $(REGRESS),$(ISOLATION)))
$(error test/sql and test/specs share a name: $(filter $(REGRESS),$(ISOLATION)))
endif

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

$(OBJS): $(wildcard src/*.h)

$(DATA_built): $(SQL_PARTS) $(EXTENSION).control
	cat $(SQL_PARTS) > $@

# What can be checked without a server.
LINT_SOURCES = $(wildcard src/*.c)
LINT_FILES   = $(wildcard src/*.[ch])

.PHONY: lint format format-check clang-tidy cppcheck
.PHONY: check-layers check-symbols check-version

lint: format-check clang-tidy cppcheck check-layers check-symbols check-version

format:
	clang-format -i $(LINT_FILES)

format-check:
	clang-format --dry-run -Werror $(LINT_FILES)

clang-tidy:
	printf '%s\n' $(LINT_SOURCES) | xargs -P 2 -I FILE clang-tidy --quiet FILE -- \
		-Isrc -isystem $(includedir_server) $(PG_CPPFLAGS) -std=gnu99

cppcheck:
	cppcheck --quiet --std=c99 --enable=warning,performance,portability \
		--inline-suppr --error-exitcode=1 -Isrc -DPG_VERSION_NUM=150000 \
		$(PG_CPPFLAGS) -DJQ_MODULE_MAGIC= '-Dforeach(cell,list)=while (next(&cell,list))' \
		'-DPG_FUNCTION_INFO_V1(f)=Datum f(PG_FUNCTION_ARGS)' src

check-layers:
	script/check-layers

check-symbols: $(MODULE_big)$(DLSUFFIX)
	script/check-symbols $<

check-version:
	script/check-version
