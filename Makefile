# Each target is a command or two that you could have typed.  `make help` lists them.

SUITE = dotnet run --project ConformanceTests --

help:              ## this list
	@sed -n 's/^\([a-z-]*\): *[a-z]* *## /  make \1\t/p' Makefile | expand -t 22

test:              ## the conformance suite; SERVER='… {port} {dir}' or CLIENT='… {host} {port} {command} {file}' tests yours; QUICK=1, CLAUSE=
	@$(SUITE) test

class:             ## the suite over a class, a folder for each; STUDENTS='students/*/', AT_ONCE=, MINUTES=, INSIDE='a container …'
	@$(SUITE) class $(STUDENTS)

clean:             ## what was built
	rm -rf bin obj ConformanceTests/bin ConformanceTests/obj ConformanceTests/*.txt ConformanceTests/report.json ConformanceTests/report.html ConformanceTests/class ConformanceTests/class.html ConformanceTests/class.csv ConformanceTests/Snapshots/*.received.txt

.PHONY: help test class clean

# ---- the program ----
# From here on: what takes Server.cs and Client.cs.  A handout has none of it.

PROGRAM = dotnet bin/Release/net10.0/ImageTransfer.dll
EXE     = wine bin/windows/ImageTransfer.exe
WINDOWS_TIME = 330
PREFIX  = /usr/local
LINKER  = $(firstword $(notdir $(shell command -v gcc) $(shell command -v clang)))

# What a class is given of the suite.  The other folders test this program and the suite itself, and quote the program.
HANDED_OUT = Harness Sections Report Class

run:               ## serve the folder images on port 7005, on this machine only
	dotnet run -- server

build:             ## the program
	@dotnet build ImageTransfer.csproj --nologo -v quiet

handout:           ## DIR=…: what a class is given: the specification and the suite, and nothing of the program
	@test -n "$(DIR)" || { echo "Where to?  make handout DIR=../exercise"; exit 2; }
	@test ! -e "$(DIR)" || { echo "$(DIR) is there already."; exit 2; }
	@mkdir -p "$(DIR)"; case "$$(cd "$(DIR)"; pwd)" in "$$PWD"/*) rmdir "$(DIR)"; echo "Not inside this folder."; exit 2;; esac
	@mkdir "$(DIR)/ConformanceTests"; cp Protocol.md .editorconfig .gitattributes .gitignore "$(DIR)"
	@cp -r $(addprefix ConformanceTests/,$(HANDED_OUT) ConformanceTests.csproj) "$(DIR)/ConformanceTests"
	@sed '/^# ---- the program ----/,$$d' Makefile > "$(DIR)/Makefile"; cp ConformanceTests/Handout.md "$(DIR)/README.md"
	@echo "$(DIR) is ready to be given away."

mutants:           ## the suite's own test: the program with one mistake at a time, each of which has to be caught; ONLY='a word'
	@$(SUITE) mutants $(ONLY)

mutants-check:     ## whether each mutant still applies and compiles, without a run: after a change to the program
	@$(SUITE) mutants-check

torture:           ## the promises under fire, for some minutes; SEED= and ROUNDS= change it; ONLY='a word' chooses tests
	@$(SUITE) torture $(ONLY)

native:            ## the program as one file for this machine, without .NET: bin/native/imagetransfer; it needs gcc or clang
	@$(if $(LINKER),,echo "make native needs a linker: install gcc or clang."; exit 1)
	@dotnet publish ImageTransfer.csproj --nologo -v quiet -c Release --use-current-runtime -p:PublishAot=true \
	  -p:CppCompilerAndLinker=$(LINKER) -o bin/native
	@mv bin/native/ImageTransfer bin/native/imagetransfer

install: native    ## the native program into PREFIX/bin, also while the old one runs; PREFIX=/usr/local
	@mkdir -p "$(PREFIX)/bin" && cp bin/native/imagetransfer "$(PREFIX)/bin/.imagetransfer.new" \
	  && mv "$(PREFIX)/bin/.imagetransfer.new" "$(PREFIX)/bin/imagetransfer" && echo "$(PREFIX)/bin/imagetransfer"

windows:           ## the suite over the program for Windows, server and client, under Wine: apt-get install wine wine64
	@command -v wine >/dev/null || { echo "Wine is missing: apt-get install wine wine64"; exit 1; }
	@dotnet publish ImageTransfer.csproj --nologo -v quiet -r win-x64 --self-contained -o bin/windows
	@run=; export WINEPREFIX=$$(mktemp -d) WINEARCH=win64 WINEDEBUG=-all ON_WINDOWS=1; \
	trap 'trap "" INT TERM; kill $$run 2>/dev/null; wineserver -k; rm -rf $$WINEPREFIX' EXIT; trap 'exit 130' INT TERM; \
	wine wineboot -i 2>/dev/null; wineserver -p; \
	timeout -k 10 $(WINDOWS_TIME) $(MAKE) --no-print-directory test TIMEOUT_SCALE=3 SERVER='$(EXE) server {port} --dir {dir}' \
	  CLIENT='$(EXE) client {host} {port} {command} {file}' & run=$$!; wait $$run; status=$$?; \
	test $$status -ne 124 || echo "It hung: ended after $(WINDOWS_TIME) s."; exit $$status

width:             ## no line of a .cs file is wider than 120 characters; prints those that are
	@LC_ALL=C.UTF-8 git grep -nE '^.{121,}' -- '*.cs'; test $$? -eq 1

format:            ## both projects are formatted as .editorconfig says; prints what is not
	@status=0; for project in ImageTransfer.csproj ConformanceTests/ConformanceTests.csproj; do \
	dotnet format $$project --verify-no-changes || status=1; done; exit $$status

demo: build        ## a tour in five seconds: serve, upload, list, download, compare, stop
	@set -e; d=$$(mktemp -d); server=; trap 'kill $$server 2>/dev/null || true; wait; rm -rf $$d' EXIT; \
	printf '\211PNG\r\n\032\n' > $$d/cat.png; head -c 300000 /dev/urandom >> $$d/cat.png; mkdir $$d/here; \
	echo '$$ imagetransfer server 0 --dir images'; \
	$(PROGRAM) server 0 --dir $$d/images --quiet > $$d/out & server=$$!; \
	until grep -q listening $$d/out; do sleep 0.05; done; sed 's/, folder.*/, folder images/' $$d/out; \
	port=$$(sed 's/.*:\([0-9]*\),.*/\1/' $$d/out); \
	for words in "PUT $$d/cat.png" "LIST" "GET cat.png --output $$d/here" "GET dog.png" "STATUS"; do \
	  echo "$$ imagetransfer client localhost $$port $$words" | sed "s#$$d/##g"; $(PROGRAM) client localhost $$port $$words || test "$$words" = "GET dog.png"; done; \
	cmp $$d/cat.png $$d/here/cat.png && echo 'The same octets came back.'

accept:            ## take what the failed snapshots received as right
	@for f in ConformanceTests/Snapshots/*.received.txt; do [ -e "$$f" ] && mv -v "$$f" "$${f%.received.txt}.verified.txt"; done; true

.PHONY: run build handout mutants mutants-check torture native install windows width format demo accept
