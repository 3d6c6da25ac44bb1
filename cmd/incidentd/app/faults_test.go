package app_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/incidentd/incidentd/cmd/incidentd/app"
	"github.com/incidentd/incidentd/events"
)

// TestStopAtAnyMomentOfAStart stops as soon as a start has come to each of
// these files, and then starts for good.
func TestStopAtAnyMomentOfAStart(t *testing.T) {
	t.Parallel()
	for _, file := range []string{"", "incidentd.db", "broker/operator.nk", "jetstream", "nats-url", "secret.key", "admin-password"} {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			p := w.program(app.RoleAll)
			var both sync.WaitGroup
			both.Go(func() {
				if err := p.Start(deadline(t)); err != nil && !errors.Is(err, app.ErrStopped) {
					t.Errorf("start: %v", err)
				}
			})
			eventually(t, "the start has begun", func() bool {
				_, err := os.Stat(filepath.Join(w.dir, file))
				return err == nil
			})
			for range 3 {
				both.Go(func() {
					if err := p.Stop(context.Background()); err != nil {
						t.Errorf("stop: %v", err)
					}
				})
			}
			both.Wait()

			q := w.start(app.RoleAll)
			q.login()
			q.classified(q.submit("After all of that"))
		})
	}
}

// TestStopLosesNothing stops again and again in the middle of the work.
func TestStopLosesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	acknowledged := 0
	for round := range 4 {
		p := w.start(app.RoleAll)
		p.login()
		var senders sync.WaitGroup
		var mu sync.Mutex
		enough := make(chan struct{})
		for sender := range 4 {
			senders.Go(func() {
				for i := 0; ; i++ {
					body := map[string]string{
						"title":       fmt.Sprintf("Round %d, sender %d, %d", round, sender, i),
						"description": strings.Repeat("The mail server is slow. ", 10),
					}
					status, _, err := p.try("POST", "/incidents", body, nil)
					if err != nil || status == http.StatusServiceUnavailable {
						return // the stop has begun
					}
					if status != http.StatusCreated {
						t.Errorf("submit: %d", status)
						return
					}
					mu.Lock()
					acknowledged++
					if acknowledged == 25*(round+1) {
						close(enough)
					}
					mu.Unlock()
				}
			})
		}
		select {
		case <-enough:
		case <-deadline(t).Done():
			t.Fatal("the API takes no incidents")
		}
		p.stop()
		senders.Wait()
	}
	p := w.start(app.RoleAll)
	p.login()
	// An answer may have been on its way when the connection was closed.
	eventually(t, "all are classified", func() bool {
		s := p.stats().Incidents
		if s.Total < acknowledged {
			t.Fatalf("%d incidents of %d that were acknowledged", s.Total, acknowledged)
		}
		return s.ByState["classified"] == s.Total
	})
}

func TestBrokerStoreIsDisposable(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	stream := filepath.Join(w.dir, "jetstream")
	p := w.start(app.RoleAll &^ app.RoleWorker)
	p.login()
	for i := range 20 {
		p.submit(fmt.Sprintf("In the broker when it is lost %d", i))
	}
	eventually(t, "all are in the broker", func() bool { return p.stats().Queue.Outbox == 0 })

	// Removed under the running process.
	if err := os.RemoveAll(stream); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		p.submit(fmt.Sprintf("While it is lost %d", i))
	}
	worker := w.start(app.RoleWorker)
	p.allClassified(40)
	worker.stop()

	// Removed while stopped, with work in it.
	for i := range 20 {
		p.submit(fmt.Sprintf("Lost again %d", i))
	}
	eventually(t, "all are in the broker", func() bool { return p.stats().Queue.Outbox == 0 })
	p.stop()
	if err := os.RemoveAll(stream); err != nil {
		t.Fatal(err)
	}
	q := w.start(app.RoleAll)
	q.login()
	q.allClassified(60)
}

// TestBrokerStoreMayBeDamaged damages every file of the broker while the
// program is stopped with work in it.
func TestBrokerStoreMayBeDamaged(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(content []byte) []byte{
		"halved":  func(content []byte) []byte { return content[:len(content)/2] },
		"emptied": func([]byte) []byte { return nil },
		"flipped": func(content []byte) []byte {
			for i := 0; i < len(content); i += 101 {
				content[i] ^= 0xff
			}
			return content
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			p := w.start(app.RoleAll &^ app.RoleWorker)
			p.login()
			for i := range 10 {
				p.submit(fmt.Sprintf("Damaged %d", i))
			}
			eventually(t, "all are in the broker", func() bool { return p.stats().Queue.Outbox == 0 })
			p.stop()
			err := filepath.WalkDir(filepath.Join(w.dir, "jetstream"), func(path string, entry fs.DirEntry, err error) error {
				if err != nil || !entry.Type().IsRegular() {
					return err
				}
				content, err := os.ReadFile(path)
				if err != nil {
					return err
				}
				return os.WriteFile(path, damage(content), 0o600)
			})
			if err != nil {
				t.Fatal(err)
			}
			q := w.start(app.RoleAll)
			q.login()
			q.allClassified(10)
		})
	}
}

func TestExternalBrokerThatComesLater(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	broker := events.EmbeddedConfig{
		Listen: "127.0.0.1:0", StoreDir: filepath.Join(dir, "jetstream"), CredsDir: filepath.Join(dir, "broker"), MaxStore: 8 << 30,
	}
	first, err := events.StartEmbedded(broker)
	if err != nil {
		t.Fatal(err)
	}
	address := strings.TrimPrefix(first.URL(), "nats://")
	if err := first.Shutdown(); err != nil {
		t.Fatal(err)
	}

	w := newWorld(t).set("NATS_URL", "nats://someone:hunter2@"+address).
		set("NATS_CREDS", events.CredsFile(broker.CredsDir, events.RoleServer))
	p := w.start(app.RoleAll)
	if line := p.stdout.String(); !strings.HasSuffix(line, " nats=nats://"+address+"\n") {
		t.Errorf("ready line %q", line)
	}
	p.login()
	id := p.submit("Before there is a broker")
	if status, r := p.ready(); status != http.StatusOK || r.Status != "degraded" || r.Checks["broker"] != "not connected" {
		t.Errorf("readyz: %d %+v", status, r)
	}
	broker.Listen = address
	second, err := events.StartEmbedded(broker)
	if err != nil {
		t.Fatal(err)
	}
	p.awaitReady()
	p.classified(id)

	if err := second.Shutdown(); err != nil {
		t.Fatal(err)
	}
	id = p.submit("While the broker is gone")
	third, err := events.StartEmbedded(broker)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := third.Shutdown(); err != nil {
			t.Error(err)
		}
	}()
	p.classified(id)
	p.stop()
	if strings.Contains(p.log.String()+p.stdout.String()+p.stderr.String(), "hunter2") {
		t.Error("the broker's password is printed")
	}
}

func TestRemovedDatabaseEndsTheProgram(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.program(app.RoleAll)
	if err := p.Start(deadline(t)); err != nil {
		t.Fatal(err)
	}
	p.login()
	p.submit("Before")
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.Remove(filepath.Join(w.dir, "incidentd.db"+suffix)); err != nil {
			t.Fatal(err)
		}
	}
	body := map[string]string{"title": "After", "description": "No such file"}
	if status, _, err := p.try("POST", "/incidents", body, nil); err == nil && status != http.StatusServiceUnavailable {
		t.Errorf("a write into a removed database: %d", status)
	}
	select {
	case <-p.Done():
	case <-deadline(t).Done():
		t.Fatal("the program goes on without its database")
	}
	if p.Err() == nil {
		t.Error("it does not say why it ends")
	}
	// What the stop says is not of interest, but it ends.
	_ = p.Stop(context.Background())
}

func TestDamagedDatabaseIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if err := os.MkdirAll(w.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(w.dir, "incidentd.db")
	content := []byte(strings.Repeat("this is no database ", 1000))
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	err := w.failStart(app.RoleAll)
	if !strings.Contains(err.Error(), "incidentd.db") {
		t.Errorf("it does not name the file: %v", err)
	}
	if after, err := os.ReadFile(path); err != nil || string(after) != string(content) {
		t.Errorf("the file was touched: %v", err)
	}
}

func TestDamagedSigningKeyIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if err := os.MkdirAll(w.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(w.dir, "secret.key"), []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := w.failStart(app.RoleAll); !strings.Contains(err.Error(), "secret.key") {
		t.Errorf("a short key: %v", err)
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	cert, key, pool := certificate(t)
	w := newWorld(t).set("INCIDENTD_TLS_CERT", cert).set("INCIDENTD_TLS_KEY", key)
	p := w.start(app.RoleAPI | app.RoleBroker)
	if !strings.Contains(p.stdout.String(), "api=https://127.0.0.1:") {
		t.Errorf("ready line %q", p.stdout.String())
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
	defer transport.CloseIdleConnections()
	p.client = &http.Client{Transport: transport, Timeout: patience}
	p.login()
	if status, header := p.call("GET", "/auth/me", nil, nil); status != http.StatusOK || header.Get("Strict-Transport-Security") == "" {
		t.Errorf("over TLS: %d, %v", status, header)
	}
}

// certificate makes a certificate for 127.0.0.1.
func certificate(t *testing.T) (certFile, keyFile string, pool *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "incidentd"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{
		certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pool = x509.NewCertPool()
	pool.AppendCertsFromPEM(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return certFile, keyFile, pool
}
