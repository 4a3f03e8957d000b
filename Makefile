# Each target is a command or two that you could have typed.  `make help` lists them.

SUITE = dotnet run --project ConformanceTests --

help:              ## print this list
	@sed -n 's/^\([a-z-]*\):[a-z/ ]*## /  make \1\t/p' Makefile | expand -t 22

test:              ## run the conformance suite; SERVER='…' or CLIENT='…' tests your program; QUICK=1 is faster
	@$(SUITE) test

class:             ## grade a class: STUDENTS='students/*/', a folder for each; also AT_ONCE=, MINUTES=, INSIDE='…'
	@$(SUITE) class $(STUDENTS)

clean:             ## delete everything that was built
	rm -rf bin obj ConformanceTests/bin ConformanceTests/obj ConformanceTests/*.txt ConformanceTests/report.json \
	  ConformanceTests/report.html ConformanceTests/lessons.html ConformanceTests/class ConformanceTests/class.html \
	  ConformanceTests/class.csv ConformanceTests/Snapshots/*.received.txt

.PHONY: help test class clean

# ---- the program ----
# The targets from here on need Server.cs and Client.cs.  A handout does not have them.

EXE          = wine bin/windows/ImageTransfer.exe
WINDOWS_TIME = 800
PREFIX  = /usr/local
LINKER  = $(firstword $(notdir $(shell command -v gcc) $(shell command -v clang)))

# The folders that a handout contains.  The others test this program and the suite itself, and quote the program.
HANDED_OUT = Harness Sections Report Class

# QUICK=1 tests the native program if there is a linker: it starts ten times as fast as the one that .NET compiles.
ifneq ($(and $(filter 1,$(QUICK)),$(LINKER)),)
ifeq ($(SERVER)$(CLIENT)$(PROGRAM),)
test: bin/native/imagetransfer
test: export PROGRAM = $(CURDIR)/bin/native/imagetransfer
endif
endif

run:               ## serve the folder images on port 7005, to this machine only
	dotnet run -- server

build:             ## build the program
	@dotnet build ImageTransfer.csproj --nologo -v quiet

handout:           ## make a folder for students, DIR=…: the specification and the suite, without the program
	@test -n "$(DIR)" || { echo "DIR is missing.  For example: make handout DIR=../exercise"; exit 2; }
	@test ! -e "$(DIR)" || { echo "$(DIR) exists already."; exit 2; }
	@mkdir -p "$(DIR)"; case "$$(cd "$(DIR)"; pwd)" in \
	  "$$PWD"/*) rmdir "$(DIR)"; echo "DIR must not be inside this folder."; exit 2;; esac
	@mkdir "$(DIR)/ConformanceTests"; cp Protocol.md .editorconfig .gitattributes .gitignore "$(DIR)"
	@cp -r $(addprefix ConformanceTests/,$(HANDED_OUT) ConformanceTests.csproj) "$(DIR)/ConformanceTests"
	@sed '/^# ---- the program ----/,$$d' Makefile > "$(DIR)/Makefile"; cp ConformanceTests/Handout.md "$(DIR)/README.md"
	@echo "$(DIR) is ready: give it to your students."

mutants:           ## test the suite on the program with one mistake at a time; ONLY='a word or another' chooses some
	@$(SUITE) mutants $(if $(ONLY),'$(ONLY)')

mutants-check:     ## check that each of these mistakes can still be made and compiles, without running it
	@$(SUITE) mutants-check

torture:           ## stress-test the guarantees for a few minutes; also SEED=, ROUNDS=, ONLY='a word'
	@$(SUITE) torture $(if $(ONLY),'$(ONLY)')

native: bin/native/imagetransfer  ## build one native file, bin/native/imagetransfer (needs gcc or clang)

bin/native/imagetransfer: Server.cs Client.cs ImageTransfer.csproj
	@$(if $(LINKER),,echo "make native needs a linker: install gcc or clang."; exit 1)
	@dotnet publish ImageTransfer.csproj --nologo -v quiet -c Release --use-current-runtime -p:PublishAot=true \
	  -p:CppCompilerAndLinker=$(LINKER) -p:DebugType=none -o bin/native
	@mv bin/native/ImageTransfer bin/native/imagetransfer; rm -f bin/native/*.dbg; touch bin/native/imagetransfer
	@echo "bin/native/imagetransfer is ready."

install: bin/native/imagetransfer  ## copy the native program to PREFIX/bin (PREFIX=/usr/local)
	@mkdir -p "$(PREFIX)/bin" && cp bin/native/imagetransfer "$(PREFIX)/bin/.imagetransfer.new" \
	  && mv -f "$(PREFIX)/bin/.imagetransfer.new" "$(PREFIX)/bin/imagetransfer" \
	  && echo "Installed $(PREFIX)/bin/imagetransfer."

windows:           ## run the suite on the program for Windows, under Wine (apt-get install wine wine64)
	@command -v wine >/dev/null || { echo "Wine is missing: apt-get install wine wine64"; exit 1; }
	@dotnet publish ImageTransfer.csproj --nologo -v quiet -r win-x64 --self-contained -o bin/windows
	@run=; export WINEPREFIX=$$(mktemp -d) WINEARCH=win64 WINEDEBUG=-all ON_WINDOWS=1; \
	trap 'trap "" INT TERM; kill $$run 2>/dev/null; wineserver -k; rm -rf $$WINEPREFIX' EXIT; trap 'exit 130' INT TERM; \
	wine wineboot -i 2>/dev/null; wineserver -p; \
	timeout -k 10 $(WINDOWS_TIME) $(MAKE) --no-print-directory test TIMEOUT_SCALE=3 \
	  SERVER='$(EXE) server {port} --dir {dir}' \
	  CLIENT='$(EXE) client {host} {port} {command} {file}' & run=$$!; wait $$run; status=$$?; \
	test $$status -ne 124 || echo "It hung: ended after $(WINDOWS_TIME) s."; exit $$status

width:             ## check that no line of the code is wider than 120 characters
	@LC_ALL=C.UTF-8 git grep -nE '^.{121,}' -- '*.cs' Makefile .ci .github; test $$? -eq 1

format:            ## check that both projects are formatted as .editorconfig says
	@status=0; for project in ImageTransfer.csproj ConformanceTests/ConformanceTests.csproj; do \
	dotnet format $$project --verify-no-changes || status=1; done; exit $$status

demo: build        ## a tour in five seconds: serve, upload, list, download, compare, stop
	@set -e; d=$$(mktemp -d); server=; trap 'kill $$server 2>/dev/null || true; wait; rm -rf $$d' EXIT; \
	cp ConformanceTests/cat.png $$d; mkdir $$d/images; cd $$d; \
	program='dotnet $(CURDIR)/bin/Release/net10.0/ImageTransfer.dll'; \
	echo '$$ imagetransfer server 0 --dir images'; \
	$$program server 0 --dir images --quiet > out & server=$$!; \
	until grep -q listening out; do sleep 0.05; done; sed 's/, folder.*/, folder images/' out; \
	port=$$(sed 's/.*:\([0-9]*\),.*/\1/' out); \
	for words in 'PUT cat.png' 'LIST' 'GET cat.png --output copies/' 'GET dog.png' 'STATUS'; do \
	  echo "$$ imagetransfer client localhost $$port $$words"; \
	  $$program client localhost $$port $$words || test "$$words" = 'GET dog.png'; done; \
	cmp cat.png copies/cat.png && echo 'The downloaded picture is identical to the one that was uploaded.'

lessons: build     ## write ConformanceTests/lessons.html: the program as a course, the rules next to the code
	@$(SUITE) lessons

accept:            ## accept what the failed snapshot tests have received as the new expectation
	@for f in ConformanceTests/Snapshots/*.received.txt; do \
	  [ -e "$$f" ] && mv -v "$$f" "$${f%.received.txt}.verified.txt"; done; true

.PHONY: run build handout mutants mutants-check torture native install windows width format demo lessons accept
