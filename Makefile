# Holdfast. `make demo` shows it, `make test` checks it, `make help` lists the rest.
ifeq ($(origin CC),default)
CC := gcc
endif
PREFIX  ?= /usr/local
MODELS  ?= $(or $(HOLDFAST_MODELS),$(HOME)/.local/share/holdfast/models)
SAN     ?=
DEBUG   ?=
VERSION := 0.1.0

OS    := $(shell uname -s)
ARCH  := $(shell uname -m)
comma := ,
# One build folder per compiler and sanitizer set, so that switching rebuilds nothing.
B := build$(if $(filter-out gcc cc,$(notdir $(CC))),-$(notdir $(CC)))$(if $(SAN),-$(subst $(comma),-,$(SAN)))$(if $(DEBUG),-debug)

PKGS     := jansson libpcre2-8 libmicrohttpd libcurl sqlite3 libzstd libxxhash libedit
PKG_CFLAGS := $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
PKG_LIBS   := $(shell pkg-config --libs $(PKGS) 2>/dev/null)

WARN   := -Wall -Wextra -Wpedantic -Wshadow -Wmissing-prototypes -Wvla -Werror
STRICT := -Wconversion
CFLAGS ?= -O2 -g
CFLAGS_ALL = -std=c17 $(CFLAGS) -ffp-contract=off -fno-math-errno -fPIC -D_FILE_OFFSET_BITS=64 -D_DEFAULT_SOURCE \
	-DHOLDFAST_VERSION='"$(VERSION)"' -Isrc -Iinclude -I. $(WARN) \
	$(if $(SAN),-fsanitize=$(SAN) -fno-omit-frame-pointer -fno-sanitize-recover=all) \
	$(if $(DEBUG),-O0 -DHOLDFAST_DEBUG) $(PKG_CFLAGS)
LDLIBS = $(PKG_LIBS) -lpthread -lm $(if $(SAN),-fsanitize=$(SAN))

OS_SKIP := $(if $(filter Darwin,$(OS)),src/base/os_linux.c,src/base/os_macos.c)
SRC     := $(filter-out $(OS_SKIP),$(wildcard src/*/*.c)) $(wildcard gen/*.c)
LIB_SRC := $(filter-out src/cmd/%,$(SRC))
LIB_OBJ := $(LIB_SRC:%.c=$(B)/%.o)
CMD_OBJ := $(patsubst %.c,$(B)/%.o,$(wildcard src/cmd/*.c) $(wildcard src/main.c))

.PHONY: all lib demo test test-unit test-agents tests-build check bench bench-peers fuzz fuzz-build docs install deps models clients clean help format
all: $(B)/holdfast $(B)/libholdfast.so

lib: $(B)/libholdfast.a
$(B)/libholdfast.a: $(LIB_OBJ)
	@rm -f $@
	ar rcs $@ $^
$(B)/libholdfast.so: $(LIB_OBJ)
	$(CC) -shared -o $@ $^ $(LDLIBS)
$(B)/holdfast: $(CMD_OBJ) $(B)/libholdfast.a
	$(CC) -o $@ $(CMD_OBJ) $(B)/libholdfast.a $(LDLIBS)

# Sanitizers at -O1 take minutes on the kernels' templates, and a second without optimisation.
KERN_OPT := $(if $(SAN),-O0,-O3)
# Instruction-set flags belong to one file each; everything else runs on any machine.
ifneq ($(filter x86_64 amd64,$(ARCH)),)
$(B)/src/kern/%_avx2.o:   KERN_FLAGS = $(KERN_OPT) -mavx2 -mfma -mf16c
$(B)/src/kern/%_avx512.o: KERN_FLAGS = $(KERN_OPT) -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vnni -mfma -mf16c -mprefer-vector-width=512
$(B)/tests/kernels/%_simde: KERN_FLAGS = $(if $(SAN),-O0) -mavx2 -mfma -mf16c -Wno-psabi
endif
$(B)/src/kern/%_scalar.o: KERN_FLAGS = $(if $(SAN),-O0,-O2)
$(B)/src/kern/%.o: STRICT =
$(B)/gen/%.o: STRICT =

$(B)/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) $(STRICT) $(KERN_FLAGS) -MMD -MP -c -o $@ $<

# Tests: every tests/unit/*.c and tests/kernels/*.c is one cmocka program.
TEST_SRC := $(wildcard tests/unit/*.c tests/kernels/*.c)
TEST_BIN := $(TEST_SRC:%.c=$(B)/%)
$(B)/tests/%: tests/%.c $(B)/libholdfast.a Makefile
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) $(KERN_FLAGS) -Wno-missing-prototypes -MMD -MP -o $@ $< $(B)/libholdfast.a $(LDLIBS) -lcmocka

tests-build: $(B)/holdfast $(TEST_BIN)
test: tests-build
	@tools/run_tests.sh $(B) all
# Real coding agents from npm; minutes each, so outside of `make test`. AGENTS="pi codex" chooses.
test-agents: all
	@HOLDFAST_BUILD=$(B) tests/agents/run.py $(AGENTS)
test-unit: tests-build
	@tools/run_tests.sh $(B) unit

# Style, include rules and sizes: what CI checks besides the tests.
check:
	@python3 tools/check_tree.py
	@clang-format --dry-run -Werror $$(git ls-files 'src/*.[ch]' 'include/*.h' 'tests/*.[ch]')
format:
	clang-format -i $$(git ls-files 'src/*.[ch]' 'include/*.h' 'tests/*.[ch]')

deps:
	@tools/deps.sh
models:
	@tools/models.sh "$(MODELS)"
demo:
	@tools/demo.sh "$(MODELS)"

$(B)/tools/%: tools/%.c $(B)/libholdfast.a Makefile
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) -o $@ $< $(B)/libholdfast.a $(LDLIBS)
bench: all $(B)/tools/membw
	@echo "read bandwidth, GB/s (median, best): $$($(B)/tools/membw)"
	$(B)/holdfast bench -m $(BENCH_MODEL) -p 512 -n 128 -d 0,4096
bench-peers: all $(B)/tools/membw
	@tools/bench_peers.py
BENCH_MODEL ?= SmolLM2-135M-Instruct.Q4_1

# libFuzzer targets. `make fuzz` runs each for FUZZ_SECONDS; crashes stay in build/fuzz.
FUZZ_SECONDS ?= 300
FUZZ_B   := build-clang-fuzzer-no-link-address-undefined
FUZZERS  := $(patsubst tests/fuzz/%.c,%,$(wildcard tests/fuzz/*.c))
fuzz-build:
	@$(MAKE) -s CC=clang SAN=fuzzer-no-link,address,undefined CFLAGS="-O1 -g" lib
	@mkdir -p build/fuzz
	@for f in $(FUZZERS); do \
	    clang -std=c17 -O1 -g -D_DEFAULT_SOURCE -Isrc -Iinclude -I. -fsanitize=fuzzer,address,undefined \
	        -o build/fuzz/$$f tests/fuzz/$$f.c $(FUZZ_B)/libholdfast.a $(LDLIBS) || exit 1; done
fuzz: fuzz-build
	@tools/run_fuzz.sh build/fuzz $(FUZZ_SECONDS) $(FUZZERS)

# The official clients of the APIs, for the end-to-end tests; those of npm where there is npm.
clients: $(B)/venv/done $(if $(shell command -v npm),$(B)/npm/done)
$(B)/venv/done: tests/e2e/clients.txt
	python3 -m venv $(B)/venv
	$(B)/venv/bin/pip install -q -r $<
	@touch $@
$(B)/npm/done: tests/e2e/ai/package.json
	@mkdir -p $(@D) && cp $< $(@D)
	cd $(@D) && npm install --silent --no-audit --no-fund --ignore-scripts
	@touch $@

# Man page and completions, from the tables that --help prints.
docs: $(B)/docs/holdfast.1
$(B)/docs/holdfast.1: $(B)/holdfast tools/make_docs.py
	tools/make_docs.py $(B)/holdfast $(B)/docs

SHARE := $(DESTDIR)$(PREFIX)/share
install: all docs
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/include $(DESTDIR)$(PREFIX)/lib/pkgconfig
	install -m 755 $(B)/holdfast $(DESTDIR)$(PREFIX)/bin/
	install -m 644 include/holdfast.h $(DESTDIR)$(PREFIX)/include/
	install -m 644 $(B)/libholdfast.a $(DESTDIR)$(PREFIX)/lib/
	install -m 755 $(B)/libholdfast.so $(DESTDIR)$(PREFIX)/lib/
	install -d $(DESTDIR)$(PREFIX)/lib/systemd/user
	sed -e 's|@PREFIX@|$(PREFIX)|' tools/holdfast.service.in > $(DESTDIR)$(PREFIX)/lib/systemd/user/holdfast.service
	sed -e 's|@PREFIX@|$(PREFIX)|;s|@VERSION@|$(VERSION)|' tools/holdfast.pc.in > $(DESTDIR)$(PREFIX)/lib/pkgconfig/holdfast.pc
	install -d $(SHARE)/holdfast $(SHARE)/man/man1 $(SHARE)/bash-completion/completions $(SHARE)/zsh/site-functions $(SHARE)/fish/vendor_completions.d
	sed -e 's|@PREFIX@|$(PREFIX)|' tools/io.holdfast.plist.in > $(SHARE)/holdfast/io.holdfast.plist
	install -m 644 $(B)/docs/holdfast.1 $(SHARE)/man/man1/
	install -m 644 $(B)/docs/holdfast.bash $(SHARE)/bash-completion/completions/holdfast
	install -m 644 $(B)/docs/_holdfast $(SHARE)/zsh/site-functions/
	install -m 644 $(B)/docs/holdfast.fish $(SHARE)/fish/vendor_completions.d/

clean:
	rm -rf build build-*
help:
	@echo "make            build $(B)/holdfast and libholdfast"
	@echo "make demo       install what is missing, build, fetch a small model, ask it a question"
	@echo "make test       every test that runs in under 15 minutes on 2 cores"
	@echo "make test-agents  real coding agents from npm against the server (AGENTS=\"pi codex\")"
	@echo "make deps       install the libraries and tools that the build needs"
	@echo "make models     fetch the models that tests and benches use"
	@echo "make clients    fetch the official clients (PyPI, npm) that the end-to-end tests use if they are there"
	@echo "make check      style, include rules, file and function sizes"
	@echo "make bench      speed of this build; make bench-peers: beside llama.cpp"
	@echo "make fuzz       libFuzzer targets (clang), FUZZ_SECONDS each"
	@echo "make docs       man page and completions, from the tables of --help, in $(B)/docs"
	@echo "make install    DESTDIR= PREFIX="
	@echo "  CC=clang, SAN=address,undefined, DEBUG=1 build into folders of their own"

-include $(LIB_OBJ:.o=.d) $(CMD_OBJ:.o=.d) $(TEST_BIN:%=%.d)
