package configs_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/incidentd/incidentd/configs"
)

// mistakes loads and returns what is wrong as text.
func mistakes(t *testing.T, s configs.Source) configs.Errors {
	t.Helper()
	_, err := configs.Load(s)
	var list configs.Errors
	if !errors.As(err, &list) {
		t.Fatalf("error %v (%T), want Errors", err, err)
	}
	return list
}

func load(t *testing.T, s configs.Source) configs.Config {
	t.Helper()
	c, err := configs.Load(s)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func write(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestNothingSetIsTheDefault(t *testing.T) {
	t.Parallel()
	got := load(t, configs.Source{Environ: []string{"PATH=/bin", "HOME=/root"}})
	if want := configs.Default(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	if err := configs.Default().Validate(); err != nil {
		t.Errorf("the defaults are wrong: %v", err)
	}
}

func TestExampleEqualsTheDefaults(t *testing.T) {
	t.Parallel()
	got := load(t, configs.Source{File: "incidentd.yaml"})
	if want := configs.Default(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	lines := strings.Split(configs.Example(), "\n")
	for _, s := range configs.Settings() {
		last := s.Key[strings.LastIndexByte(s.Key, '.')+1:] + ":"
		found := false
		for _, line := range lines {
			if !strings.HasPrefix(strings.TrimSpace(line), last) {
				continue
			}
			found = found || strings.Contains(line, strings.Join(s.Env, ", ")) &&
				(s.Flag == "" || strings.Contains(line, "--"+s.Flag))
		}
		if !found {
			t.Errorf("the example has no line with %s, its names %v and its flag %q", s.Key, s.Env, s.Flag)
		}
	}
}

// TestEveryKeyIsKnownInAFile writes a section in the place of every value: the
// mistake is about the key that was meant, and about nothing else.
func TestEveryKeyIsKnownInAFile(t *testing.T) {
	t.Parallel()
	for _, s := range configs.Settings() {
		section, key, nested := strings.Cut(s.Key, ".")
		document := s.Key + ": {}"
		if nested {
			document = section + ":\n  " + key + ": {}"
		}
		list := mistakes(t, configs.Source{File: write(t, document)})
		if len(list) != 1 || list[0].Key != s.Key {
			t.Errorf("%s as a section: %v", s.Key, list)
		}
	}
}

func TestOrderOfSources(t *testing.T) {
	t.Parallel()
	file := write(t, "log: {level: warn}\nhttp: {listen: 127.0.0.1:1}\ndata_dir: from-file\n")
	got := load(t, configs.Source{
		File:    file,
		Environ: []string{"INCIDENTD_LISTEN=127.0.0.1:2", "INCIDENTD_DATA_DIR=from-env"},
		Flags:   map[string]string{"data-dir": "from-flag"},
	})
	if got.Log.Level != "warn" || got.HTTP.Listen != "127.0.0.1:2" || got.DataDir != "from-flag" {
		t.Errorf("got level %q, listen %q, data %q", got.Log.Level, got.HTTP.Listen, got.DataDir)
	}
}

func TestEveryNameInTheEnvironment(t *testing.T) {
	t.Parallel()
	creds := write(t, "creds")
	values := map[string]string{
		"SECRET_KEY": strings.Repeat(" k\t", 22), "ALGORITHM": "HS512", "ACCESS_TOKEN_EXPIRE_MINUTES": "7",
		"DATABASE_URL": "sqlite:///./x.db", "NATS_URL": "nats://u:p@a:1,b:2", "NATS_CREDS": creds,
		"INCIDENTD_MODEL": "tiny", "INCIDENTD_LABELS": "a, b ,c", "ONNXRUNTIME_LIB": "/lib/x.so",
		"INCIDENTD_WORKER_BATCH": "3", "INCIDENTD_LOG_LEVEL": "debug", "INCIDENTD_LOG_FORMAT": "json",
		"INCIDENTD_NATS_DIR": "n", "INCIDENTD_TRUSTED_PROXIES": "10.0.0.1,fd00::/8",
		"INCIDENTD_CORS_ORIGINS": "https://a.example,https://b.example:8443",
		"INCIDENTD_ACK_WAIT":     "2s", "INCIDENTD_SWEEP_INTERVAL": "1s",
		"INCIDENTD_DATA_DIR": "d", "INCIDENTD_LISTEN": "0.0.0.0:1", "INCIDENTD_NATS_LISTEN": "127.0.0.1:0",
		"INCIDENTD_INSECURE_HTTP": "TRUE", "INCIDENTD_METRICS_LISTEN": "127.0.0.1:9", "INCIDENTD_OFFLINE": "1",
		"ADMIN_EMAIL": "root@example.org", "ADMIN_PASSWORD": "correct horse",
	}
	var environ []string
	for name, v := range values {
		environ = append(environ, name+"="+v)
	}
	c := load(t, configs.Source{Environ: environ})
	for name, pair := range map[string][2]any{
		"secret":   {c.Auth.SecretKey.Reveal(), values["SECRET_KEY"]},
		"alg":      {c.Auth.Algorithm, "HS512"},
		"ttl":      {c.TokenTTL(), 7 * time.Minute},
		"db":       {c.DatabasePath(), "./x.db"},
		"nats":     {c.NATS.URL.Reveal(), values["NATS_URL"]},
		"creds":    {c.NATS.Creds, creds},
		"model":    {c.Classifier.Model, "tiny"},
		"labels":   {fmt.Sprint(c.Labels), "[a b c]"},
		"library":  {c.Classifier.Library, "/lib/x.so"},
		"batch":    {c.Worker.Batch, 3},
		"log":      {c.Log, configs.Log{Level: "debug", Format: "json"}},
		"stream":   {c.StreamDir(), "n"},
		"proxies":  {fmt.Sprint(c.HTTP.TrustedProxies), "[10.0.0.1 fd00::/8]"},
		"origins":  {len(c.HTTP.CORSOrigins), 2},
		"ack":      {c.NATS.Topology.AckWait, 2 * time.Second},
		"sweep":    {c.Worker.SweepInterval, time.Second},
		"data":     {c.DataDir, "d"},
		"listen":   {c.HTTP.Listen, "0.0.0.0:1"},
		"insecure": {c.HTTP.Insecure, true},
		"metrics":  {c.HTTP.MetricsListen, "127.0.0.1:9"},
		"broker":   {c.NATS.Listen, "127.0.0.1:0"},
		"offline":  {c.Offline, true},
		"admin":    {c.Admin, configs.Admin{Email: "root@example.org", Password: "correct horse"}},
	} {
		if !reflect.DeepEqual(pair[0], pair[1]) {
			t.Errorf("%s: got %#v, want %#v", name, pair[0], pair[1])
		}
	}
}

func TestGoodFiles(t *testing.T) {
	t.Parallel()
	c := load(t, configs.Source{File: "testdata/good/some.yaml"})
	if c.DataDir != "/srv/incidentd" || c.Worker.Batch != 8 || c.NATS.Topology.MaxBytes != 1<<30 ||
		c.NATS.Topology.AckWait != 90*time.Second || len(c.HTTP.TrustedProxies) != 2 || c.Auth.TokenMinutes != 5 {
		t.Errorf("some.yaml: got %+v", c)
	}
	if got := load(t, configs.Source{File: "testdata/good/empty.yaml"}); !reflect.DeepEqual(got, configs.Default()) {
		t.Errorf("empty.yaml: got %+v", got)
	}
	c = load(t, configs.Source{File: "testdata/good/comma.yaml"})
	if fmt.Sprint(c.Labels) != "[Strom Wasser]" || !c.Offline {
		t.Errorf("comma.yaml: got %v, offline %v", c.Labels, c.Offline)
	}
}

// TestBadFiles holds every file in testdata/bad to the mistakes that its
// comments name, all of them at once, and to no secret in any of them.
func TestBadFiles(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			list := mistakes(t, configs.Source{File: file})
			text, wants := list.Error(), 0
			for line := range strings.Lines(string(content)) {
				want, ok := strings.CutPrefix(line, "# want: ")
				if !ok {
					continue
				}
				wants++
				if want = strings.TrimSpace(want); !strings.Contains(text, want) {
					t.Errorf("%q is not in: %s", want, text)
				}
			}
			if wants == 0 || len(list) > wants {
				t.Errorf("%d mistakes, the file names %d: %s", len(list), wants, text)
			}
			if strings.Contains(text, "hunter2") {
				t.Errorf("a secret is told: %s", text)
			}
		})
	}
}

func TestMistakesOfAllSourcesAtOnce(t *testing.T) {
	t.Parallel()
	list := mistakes(t, configs.Source{
		File:    write(t, "log: {level: loud}\n"),
		Environ: []string{"ACCESS_TOKEN_EXPIRE_MINUTES=soon", "SECRET_KEY=", "DATABASE_URL=mysql://x"},
		Flags:   map[string]string{"worker-batch": "-1", "nope": "1"},
	})
	text := list.Error()
	for _, want := range []string{
		"log.level", "line 1", "auth.access_token_expire_minutes (ACCESS_TOKEN_EXPIRE_MINUTES)", `"soon"`,
		"auth.secret_key", "is set and empty", "database.url", "mysql", "worker.batch (--worker-batch)", "--nope",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in: %s", want, text)
		}
	}
	if len(list) != 6 {
		t.Errorf("%d mistakes: %s", len(list), text)
	}
}

func TestMissingFile(t *testing.T) {
	t.Parallel()
	for _, file := range []string{filepath.Join(t.TempDir(), "none.yaml"), t.TempDir()} {
		list := mistakes(t, configs.Source{File: file, Environ: []string{"ALGORITHM=RS256"}})
		if len(list) != 2 || list[0].Key != "--config" {
			t.Errorf("%s: %v", file, list)
		}
	}
}

func TestSecretsAreNeverPrinted(t *testing.T) {
	t.Parallel()
	const secret = "0123456789-top-secret-0123456789-top"
	c := load(t, configs.Source{Environ: []string{
		"SECRET_KEY=" + secret, "ADMIN_PASSWORD=" + secret, "NATS_URL=nats://u:" + secret + "@h:1",
		"HF_TOKEN=" + secret, "DATABASE_URL=sqlite:///" + secret,
	}})
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		if text := fmt.Sprintf(format, c); strings.Contains(text, "top-secret") {
			t.Errorf("%s tells a secret: %s", format, text)
		}
	}
	if c.Auth.SecretKey.Reveal() != secret {
		t.Error("the secret is lost")
	}
}

func TestEmptyVariablesAreNotSet(t *testing.T) {
	t.Parallel()
	got := load(t, configs.Source{Environ: []string{"INCIDENTD_LISTEN=", "NATS_URL=", "INCIDENTD_LABELS=", "ALGORITHM="}})
	if !reflect.DeepEqual(got, configs.Default()) {
		t.Errorf("got %+v", got)
	}
}

func TestDatabaseURL(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"sqlite:///incidents.db":               "incidents.db",
		"sqlite:////var/lib/x.db":              "/var/lib/x.db",
		"sqlite+aiosqlite:///./a b.db":         "./a b.db",
		"sqlite+pysqlite:////x%20.db":          "/x%20.db",
		"SQLite:///x.db?check_same_thread=0":   "x.db",
		"sqlite:///:memory:":                   "",
		"sqlite://":                            "",
		"sqlite:///":                           "",
		"sqlite://host/x.db":                   "",
		"sqlite:///file:x.db?uri=true":         "",
		"sqlite:///x.db?mode=ro":               "",
		"incidents.db":                         "",
		"postgresql://u:p@h/db":                "",
		"postgres+asyncpg://u:p@h/db":          "",
		"mysql+pymysql://u:p@h/db":             "",
		"sqlite:///x.db?%zz":                   "",
		"sqlite:///x.db?check_same_thread=a&b": "",
	} {
		for _, name := range []string{"DATABASE_URL", "SQLALCHEMY_DATABASE_URL"} {
			c, err := configs.Load(configs.Source{Environ: []string{name + "=" + url}})
			switch {
			case want == "" && err == nil:
				t.Errorf("%s=%s is taken as %q", name, url, c.DatabasePath())
			case want == "":
				if !strings.Contains(err.Error(), "database.url ("+name+")") {
					t.Errorf("%s=%s: %v does not name its key", name, url, err)
				}
			case err != nil || c.DatabasePath() != want:
				t.Errorf("%s=%s: %q, %v; want %q", name, url, c.DatabasePath(), err, want)
			}
		}
	}
	both := []string{"DATABASE_URL=sqlite:///a", "SQLALCHEMY_DATABASE_URL=sqlite:///b"}
	if list := mistakes(t, configs.Source{Environ: both}); len(list) != 1 || !strings.Contains(list[0].Message, "contradicts") {
		t.Errorf("two databases: %v", list)
	}
	both[1] = "SQLALCHEMY_DATABASE_URL=sqlite:///a"
	if c := load(t, configs.Source{Environ: both}); c.DatabasePath() != "a" {
		t.Errorf("the same database twice: %q", c.DatabasePath())
	}
}

func TestSecretKeyIsAsLongAsTheHash(t *testing.T) {
	t.Parallel()
	for algorithm, least := range map[string]int{"HS256": 32, "HS384": 48, "HS512": 64} {
		key := strings.Repeat("ü", least/2) // bytes count, not characters
		load(t, configs.Source{Environ: []string{"ALGORITHM=" + algorithm, "SECRET_KEY=" + key}})
		list := mistakes(t, configs.Source{Environ: []string{"ALGORITHM=" + algorithm, "SECRET_KEY=" + key[1:]}})
		if len(list) != 1 || list[0].Key != "auth.secret_key" {
			t.Errorf("%s with %d bytes: %v", algorithm, least-1, list)
		}
	}
	both := mistakes(t, configs.Source{Environ: []string{"ALGORITHM=RS256", "SECRET_KEY=short"}})
	if len(both) != 2 || both[0].Key != "auth.algorithm" || both[1].Key != "auth.secret_key" {
		t.Errorf("an unknown algorithm and a key too short for any: %v", both)
	}
	published := "SECRET_KEY=09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7"
	if list := mistakes(t, configs.Source{Environ: []string{published}}); len(list) != 1 {
		t.Errorf("the key of the tutorial: %v", list)
	}
}

func TestListenAddresses(t *testing.T) {
	t.Parallel()
	for address, loopback := range map[string]bool{
		"127.0.0.1:8000": true, "127.9.9.9:0": true, "[::1]:80": true, "localhost:80": true,
		"0.0.0.0:80": false, ":80": false, "[::]:80": false, "192.0.2.1:80": false, "example.org:80": false,
		"localhost.example.org:80": false,
	} {
		if got := configs.Loopback(address); got != loopback {
			t.Errorf("Loopback(%q) = %v", address, got)
		}
		_, err := configs.Load(configs.Source{Environ: []string{"INCIDENTD_LISTEN=" + address}})
		if (err == nil) != loopback {
			t.Errorf("%s over plain HTTP: %v", address, err)
		}
		load(t, configs.Source{Environ: []string{"INCIDENTD_LISTEN=" + address, "INCIDENTD_INSECURE_HTTP=true"}})
	}
}

func FuzzLoadFile(f *testing.F) {
	f.Add([]byte(configs.Example()))
	for _, pattern := range []string{"testdata/good/*.yaml", "testdata/bad/*.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range files {
			content, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(content)
		}
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		path := filepath.Join(t.TempDir(), "c.yaml")
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := configs.Load(configs.Source{File: path})
		if err == nil {
			// What is accepted is right, and is rendered without loss of sense.
			if err := c.Validate(); err != nil {
				t.Errorf("accepted, and then refused: %v", err)
			}
			return
		}
		var list configs.Errors
		if !errors.As(err, &list) || len(list) == 0 {
			t.Fatalf("the error %v names nothing", err)
		}
		for _, m := range list {
			if m.Key == "" || m.Message == "" {
				t.Errorf("a mistake without key or message: %#v", m)
			}
		}
	})
}
