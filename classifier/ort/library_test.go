package ort

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
)

var fakeLibrary = bytes.Repeat([]byte("not really a shared library\n"), 1000)

// fakePin is a library whose pinned content is fakeLibrary, in a folder of its own.
func fakePin(t *testing.T) library {
	t.Helper()
	sum := sha256.Sum256(fakeLibrary)
	return library{platform{
		entry: "package/bin/napi-v6/linux/x64/libonnxruntime.so.1", file: "libonnxruntime.so.1",
		sha256: hex.EncodeToString(sum[:]), size: int64(len(fakeLibrary)),
	}, t.TempDir()}
}

func tarball(t *testing.T, files map[string][]byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for name, content := range files {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content)), Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func gzipped(t *testing.T, content []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func zipped(t *testing.T, files map[string][]byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for name, content := range files {
		f, err := w.Create(name)
		if err == nil {
			_, err = f.Write(content)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func writeFile(t *testing.T, path string, content []byte, mode os.FileMode) string {
	t.Helper()
	if err := os.WriteFile(path, content, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

// The library is taken from any of the forms that it comes in, by its digest and not by its name.
func TestInstallForms(t *testing.T) {
	t.Parallel()
	decoy := bytes.ToUpper(fakeLibrary) // of the same size
	files := map[string][]byte{"package/other.so": decoy, "package/anything": fakeLibrary, "package/README": []byte("x")}
	for name, content := range map[string][]byte{
		"npm.tgz": gzipped(t, tarball(t, files)), "plain.tar": tarball(t, files), "release.zip": zipped(t, files), "lib.so": fakeLibrary,
	} {
		lib := fakePin(t)
		path, err := lib.install(t.Context(), writeFile(t, filepath.Join(t.TempDir(), name), content, 0o644))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if err := lib.check(); err != nil || path != lib.path() {
			t.Errorf("%s: %s: %v", name, path, err)
		}
	}
}

// What does not hold the pinned library changes nothing and leaves no half-written file.
func TestInstallRefuses(t *testing.T) {
	t.Parallel()
	decoy := map[string][]byte{"package/libonnxruntime.so.1": bytes.ToUpper(fakeLibrary)}
	for name, content := range map[string][]byte{
		"decoy.tgz": gzipped(t, tarball(t, decoy)), "decoy.zip": zipped(t, decoy), "decoy.so": bytes.ToUpper(fakeLibrary),
		"short": fakeLibrary[:100], "empty": nil,
	} {
		lib := fakePin(t)
		if _, err := lib.install(t.Context(), writeFile(t, filepath.Join(t.TempDir(), name), content, 0o644)); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
		if left, _ := os.ReadDir(lib.dir); len(left) > 0 {
			t.Errorf("%s: left %v", name, left)
		}
	}
	lib := fakePin(t)
	cut := gzipped(t, tarball(t, decoy))
	if _, err := lib.install(t.Context(), writeFile(t, filepath.Join(t.TempDir(), "cut"), cut[:len(cut)/2], 0o644)); err == nil {
		t.Error("half an archive was accepted")
	}
	if _, err := lib.install(t.Context(), "/does/not/exist"); !errors.Is(err, ErrMissing) {
		t.Errorf("no file: %v", err)
	}
}

// A flipped byte is noticed before the library is loaded.
func TestCheckFindsChangedByte(t *testing.T) {
	t.Parallel()
	lib := fakePin(t)
	if err := lib.check(); !errors.Is(err, ErrMissing) {
		t.Errorf("no file: %v", err)
	}
	changed := bytes.Clone(fakeLibrary)
	changed[7] ^= 1
	writeFile(t, lib.path(), changed, 0o644)
	if err := lib.check(); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "runtime install") {
		t.Errorf("a changed byte: %v", err)
	}
}

// fakeNPM puts an npm on the PATH that "packs" an archive, and counts its calls.
func fakeNPM(t *testing.T, archive []byte, script string) (calls func() int) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Fatal("the fake npm is a shell script")
	}
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "archive"), archive, 0o644)
	body := "#!/bin/sh\necho call >> " + dir + "/calls\n" + strings.ReplaceAll(script, "ARCHIVE", dir+"/archive")
	writeFile(t, filepath.Join(dir, "npm"), []byte(body), 0o755)
	t.Setenv("PATH", dir+":/usr/bin:/bin")
	return func() int {
		log, _ := os.ReadFile(filepath.Join(dir, "calls"))
		return bytes.Count(log, []byte("call"))
	}
}

// Many processes that miss the library at once fetch it once.
func TestFetchOnce(t *testing.T) {
	lib := fakePin(t)
	calls := fakeNPM(t, gzipped(t, tarball(t, map[string][]byte{lib.entry: fakeLibrary})),
		`[ "$1" = pack ] && [ "$3" = --ignore-scripts ] && cp ARCHIVE "$6/onnxruntime-node.tgz"`)
	var notices sync.Map
	var group sync.WaitGroup
	for range 6 {
		group.Go(func() {
			_, err := lib.fetch(t.Context(), LibraryConfig{Notify: func(m string) { notices.Store(m, true) }})
			if err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if n := calls(); n != 1 {
		t.Errorf("npm ran %d times", n)
	}
	said := 0
	notices.Range(func(any, any) bool { said++; return true })
	if said != 1 {
		t.Errorf("%d notices", said)
	}
	if left, _ := filepath.Glob(filepath.Join(lib.dir, ".fetch-*")); len(left) > 0 {
		t.Errorf("left %v", left)
	}
}

func TestFetchFailures(t *testing.T) {
	t.Run("npm fails", func(t *testing.T) {
		lib := fakePin(t)
		fakeNPM(t, nil, "echo no network >&2; exit 1")
		if _, err := lib.fetch(t.Context(), LibraryConfig{}); !errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), "no network") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("other library", func(t *testing.T) {
		lib := fakePin(t)
		fakeNPM(t, gzipped(t, tarball(t, map[string][]byte{lib.entry: bytes.ToUpper(fakeLibrary)})), `cp ARCHIVE "$6/x.tgz"`)
		if _, err := lib.fetch(t.Context(), LibraryConfig{}); !errors.Is(err, ErrCorrupt) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("no npm", func(t *testing.T) {
		t.Setenv("PATH", t.TempDir())
		if _, err := fakePin(t).fetch(t.Context(), LibraryConfig{}); !errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), "install npm") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		lib := fakePin(t)
		fakeNPM(t, nil, "exec cat /dev/zero >/dev/null")
		ctx, cancel := context.WithCancel(t.Context())
		if _, err := lib.fetch(ctx, LibraryConfig{Notify: func(string) { cancel() }}); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
}

func TestFindWithoutFetching(t *testing.T) {
	t.Parallel()
	cache := t.TempDir()
	_, err := Find(t.Context(), LibraryConfig{CacheDir: cache, Offline: true})
	if !errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), "runtime install FILE") {
		t.Errorf("offline: %v", err)
	}
	if left, _ := os.ReadDir(cache); len(left) > 0 {
		t.Errorf("offline left %v", left)
	}
	for path, says := range map[string]string{"lib.so": "absolute", "/does/not/exist.so": "no such file", "/": "not a file"} {
		if _, err := Find(t.Context(), LibraryConfig{LibraryPath: path}); !errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if _, err := (LibraryConfig{}).resolveFor("plan9/mips"); !errors.Is(err, ErrPlatform) {
		t.Errorf("an unknown platform: %v", err)
	}
}

func TestInspect(t *testing.T) {
	t.Parallel()
	if s := Inspect(LibraryConfig{CacheDir: t.TempDir()}); !errors.Is(s.Err, ErrMissing) || s.Pinned || s.Path == "" || s.Version != Version {
		t.Errorf("no library: %+v", s)
	}
	own := writeFile(t, filepath.Join(t.TempDir(), "own.so"), fakeLibrary, 0o644)
	if s := Inspect(LibraryConfig{LibraryPath: own}); s.Err != nil || s.Pinned || len(s.Digest) != 64 || s.Source != "ONNXRUNTIME_LIB" {
		t.Errorf("the user's own: %+v", s)
	}
}

// All four platforms are pinned with a full digest.
func TestPins(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"linux/amd64", "linux/arm64", "darwin/arm64", "windows/amd64"} {
		p, ok := platforms[name]
		if !ok || len(p.sha256) != 64 || p.size < 1<<20 || !strings.HasSuffix(p.entry, "/"+p.file) {
			t.Errorf("%s: %+v", name, p)
		}
	}
}

// A file that is no library is an error of its own, and does not keep a right one from being loaded later.
func TestLoadRefusesOtherFiles(t *testing.T) {
	own := writeFile(t, filepath.Join(t.TempDir(), "own.so"), fakeLibrary, 0o644)
	if err := Load(own); !errors.Is(err, ErrEnvironment) {
		t.Errorf("got %v", err)
	}
	if LoadedVersion() != "" {
		t.Error("a version is reported though nothing is loaded")
	}
}

// A model file is read to its structure or refused; it never ends the process or points outside its folder.
func FuzzInspectModel(f *testing.F) {
	for _, name := range []string{"model_dynamic.onnx", "external/model.onnx"} {
		data, err := os.ReadFile(filepath.Join("..", "testdata", "tiny", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data[:2000])
		f.Add(data[len(data)-3000:])
	}
	f.Add([]byte("\x3a\x0c\x2a\x0a\x42\x01w\x6a\x05\x0a\x01k\x12\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := InspectModel(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			return
		}
		for _, name := range m.External {
			if !filepath.IsLocal(name) {
				t.Errorf("accepted the location %q", name)
			}
		}
	})
}
