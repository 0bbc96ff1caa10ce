# Every target that builds depends on `deps`: Cargo.toml patches russh to `patches/russh`, which is made here.
# `make help` lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := build

RUSSH := 0.65.1
RUSSH_PATCH := patches/russh-$(RUSSH).patch
# The stamp's name carries a hash of what it was made from, so a changed patch is applied anew to a fresh copy,
# and a mere change of file times does not rebuild everything.
RUSSH_STAMP := patches/russh/.patched-$(shell cat $(RUSSH_PATCH) patches/fetch/Cargo.lock 2>/dev/null | sha256sum | cut -c1-16)
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)

.PHONY: help
help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 16

.PHONY: deps
deps: $(RUSSH_STAMP) ## fetch russh, check it against its lock file, apply our patch

# The lock file of patches/fetch carries russh's checksum; cargo checks it while it fetches.
# The copy gets its name only when every hunk has applied: a reject leaves no half-patched folder.
$(RUSSH_STAMP): | $(RUSSH_PATCH) patches/fetch/Cargo.lock
	@command -v patch >/dev/null || { echo "error: the program \`patch\` is missing" >&2; \
	  echo "hint: run \`make install-tools\` as root, or \`apt-get install patch\`" >&2; exit 1; }
	cargo fetch --locked --manifest-path patches/fetch/Cargo.toml
	rm -rf patches/russh.new
	manifest=$$(cargo metadata --locked --format-version 1 --manifest-path patches/fetch/Cargo.toml | tr ',' '\n' \
	  | sed -n 's|.*"manifest_path":"\(.*/russh-$(RUSSH)/Cargo.toml\)".*|\1|p' | head -n 1); \
	[ -n "$$manifest" ] || { echo "error: cargo does not say where russh $(RUSSH) is" >&2; exit 1; }; \
	cp -r "$$(dirname "$$manifest")" patches/russh.new
	patch -p1 --fuzz=0 --no-backup-if-mismatch --batch -d patches/russh.new < $(RUSSH_PATCH)
	touch patches/russh.new/$(notdir $@)
	rm -rf patches/russh
	mv patches/russh.new patches/russh

.PHONY: install-tools
install-tools: ## install the Debian programs that the demo and the tests drive, where they are missing
	@packages=(); \
	need() { command -v "$$1" >/dev/null || [ -x "/usr/sbin/$$1" ] || packages+=("$$2"); }; \
	need patch patch; need sshd openssh-server; need ssh openssh-client; need asciinema asciinema; \
	need tmux tmux; need script bsdutils; need sftp openssh-client; need rsync rsync; need go golang-go; need age age; need xauth xauth; need cc gcc; \
	need bash bash; need dash dash; need zsh zsh; need mksh mksh; need ksh93 ksh93u+m; need busybox busybox; need yash yash; need fish fish; \
	need perl perl-base; need setpriv util-linux; need prlimit util-linux; need mount mount; need mkfs.ext4 e2fsprogs; need faketime faketime; need cvtsudoers sudo; \
	need xrdp xrdp; need Xvfb xvfb; need xfreerdp freerdp2-x11; need freerdp-shadow-cli freerdp2-shadow-x11; need winpr-hash winpr-utils; \
	need rdesktop rdesktop; need xterm xterm; need openbox openbox; need xdotool xdotool; need xclip xclip; need import imagemagick; \
	need ffmpeg ffmpeg; need dbus-launch dbus-x11; need xwininfo x11-utils; need openssl openssl; need python3 python3; need xsetroot x11-xserver-utils; need Xorg xserver-xorg-core; \
	[ -e /usr/lib/xorg/modules/libxorgxrdp.so ] || packages+=(xorgxrdp); \
	[ -d /usr/share/gocode/src/golang.org/x/mod ] || packages+=(golang-golang-x-mod-dev); \
	[ -d /usr/lib/python3/dist-packages/paramiko ] || packages+=(python3-paramiko); \
	if [ $${#packages[@]} -gt 0 ]; then \
	  if [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then \
	    echo "error: programs are missing; their Debian packages: $${packages[*]}" >&2; \
	    echo "hint: install them, or run \`make install-tools\` as root" >&2; exit 1; \
	  fi; \
	  export DEBIAN_FRONTEND=noninteractive; \
	  apt-get update -q; \
	  apt-get install -q -y --no-install-recommends "$${packages[@]}"; \
	fi

# What reads our recordings and is no Debian package. The registries are out of reach of some machines: there
# `WITHOUT_READERS=1 make test` leaves out what drives it, and says so; nothing is left out unsaid. Built once, and kept in the target folder.
ASCIINEMA := 3.2.0
READERS := $(abspath $(TARGET_DIR))/readers
PLAYER := tests/interop/player
SSH_AUDIT := 3.9.0

.PHONY: readers
readers: $(READERS)/asciinema/.$(ASCIINEMA) $(READERS)/player/.made $(READERS)/ssh-audit/.$(SSH_AUDIT) ## fetch the asciinema, the player and the ssh-audit that tests drive

$(READERS)/ssh-audit/.$(SSH_AUDIT):
	@mkdir -p $(@D)
	@if python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --upgrade \
	  --target $(@D) ssh-audit==$(SSH_AUDIT); then touch $@; \
	else rm -rf $(@D); echo "warning: ssh-audit $(SSH_AUDIT) cannot be had here; the test that drives it fails, but with WITHOUT_READERS=1" >&2; fi

$(READERS)/asciinema/.$(ASCIINEMA):
	@mkdir -p $(@D)
	@if CARGO_TARGET_DIR=$(READERS)/build cargo install asciinema --version $(ASCIINEMA) --locked --debug --force \
	  --quiet --root $(@D); then rm -rf $(READERS)/build; touch $@; \
	else echo "warning: asciinema $(ASCIINEMA) cannot be had here; the tests that drive it fail, but with WITHOUT_READERS=1" >&2; fi

$(READERS)/player/.made: $(PLAYER)/package.json $(PLAYER)/package-lock.json
	@mkdir -p $(@D)
	@cp $^ $(@D)
	@if command -v npm >/dev/null && (cd $(@D) && npm ci --ignore-scripts --no-audit --no-fund --silent); then touch $@; \
	else echo "warning: asciinema-player cannot be had here; the tests that drive it fail, but with WITHOUT_READERS=1" >&2; fi

.PHONY: build
build: deps ## build for development: target/debug/doorward
	cargo build --locked

.PHONY: release
release: deps ## build for use: target/release/doorward
	cargo build --locked --release

.PHONY: demo
demo: install-tools build ## a tour on real programs: grant, session, replay, refusal, revoke
	@DOORWARD=$(TARGET_DIR)/debug/doorward examples/first-session.sh

.PHONY: run
run: install-tools build ## leave a bastion and a target running, and print the commands to try
	@DOORWARD=$(TARGET_DIR)/debug/doorward examples/first-session.sh --stay

.PHONY: everyday
everyday: install-tools build ## what people do with SSH, directly and in three ways through a bastion, compared; QUICK=1 for less
	@DOORWARD=$(TARGET_DIR)/debug/doorward examples/everyday.sh

.PHONY: just-in-time
just-in-time: install-tools build ## request, approve, extend, revoke, by stock ssh
	@DOORWARD=$(TARGET_DIR)/debug/doorward examples/just-in-time.sh

.PHONY: command-policy
command-policy: install-tools build ## commands under rules: allowed, refused, disguised, approved while they wait
	@DOORWARD=$(TARGET_DIR)/debug/doorward examples/command-policy.sh

.PHONY: interactive-gate
interactive-gate: install-tools build ## a strict shell, a menu, a shell in guard: what their users see, typed in windows
	@DOORWARD=$(TARGET_DIR)/debug/doorward examples/interactive-gate.sh

.PHONY: rdp
rdp: install-tools build ## a desktop asked for, seen by xfreerdp, typed on, pasted into, ended, and seen again; as root
	@DOORWARD=$(TARGET_DIR)/debug/doorward examples/rdp.sh

.PHONY: check
check: deps ## format, lint, documentation
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps

# REQUIRE_OPENSSH turns a missing program from a skipped test into a failed one. Tests wait for programs more than they
# compute, so there is one more thread than there are processors.
.PHONY: test
test: install-tools readers check ## check, and every test against real OpenSSH
	REQUIRE_OPENSSH=1 RUST_TEST_THREADS=$$(($$(nproc) + 1)) cargo test --locked --no-fail-fast

.PHONY: fuzz
fuzz: deps ## the fuzz targets of `make test`, for 10 minutes each
	FUZZ_SECONDS=$${FUZZ_SECONDS:-600} cargo test --locked --test it -- --test-threads=$$(nproc) fuzz::

.PHONY: bench
bench: install-tools deps ## direct ssh, ssh -J and Doorward side by side, sealing, verifying, deciding, desktops; BENCH_QUICK=1 for a short run
	cargo bench --locked --bench ssh
	cargo bench --locked --bench seal
	cargo bench --locked --bench verify
	cargo bench --locked --bench decide
	cargo bench --locked --bench rehearse
	cargo bench --locked --bench rdp

.PHONY: bench-gate
bench-gate: deps ## what the command gate catches, whom it disturbs, what it costs; skips where the corpora (DOORWARD_CORPORA) are absent
	cargo bench --locked --bench gate -- --markdown docs/gate-figures.md

.PHONY: clean
clean: ## remove what was built and fetched
	rm -rf $(TARGET_DIR) patches/russh patches/russh.new patches/fetch/target
