package api

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// serve runs the handler behind a real listener.
func (b *bench) serve() (address string) {
	b.t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.t.Fatal(err)
	}
	server := NewHTTPServer(b.server.Handler(), listener.Addr().String(), slog.New(slog.DiscardHandler))
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(Listener(listener)) }()
	// The clients have hung up by then; the server takes half a second to believe
	// it where it has refused to read.
	b.t.Cleanup(func() {
		if err := server.Shutdown(context.Background()); err != nil {
			b.t.Error(err)
		}
		<-done
	})
	return listener.Addr().String()
}

// exchange sends bytes and reads one answer.
func exchange(t *testing.T, address, send string) *http.Response {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if _, err := io.WriteString(conn, send); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	return response
}

func TestRealConnections(t *testing.T) {
	t.Parallel()
	b := setup(t)
	address := b.serve()
	token := "Authorization: Bearer " + b.reporter.token + "\r\n"
	for name, test := range map[string]struct {
		send string
		want int
	}{
		"plain":                 {"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 200},
		"absolute form":         {"GET http://x/healthz HTTP/1.1\r\nHost: x\r\n\r\n", 200},
		"large headers":         {"GET /healthz HTTP/1.1\r\nHost: x\r\nX-P: " + strings.Repeat("x", 70<<10) + "\r\n\r\n", 431},
		"very large headers":    {"GET /healthz HTTP/1.1\r\nHost: x\r\nX-P: " + strings.Repeat("x", 200<<10) + "\r\n\r\n", 431},
		"chunked":               {"POST /incidents HTTP/1.1\r\nHost: x\r\n" + token + "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n" + fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(goodIncident), goodIncident), 201},
		"cut chunks":            {"POST /incidents HTTP/1.1\r\nHost: x\r\n" + token + "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400},
		"expects, too large":    {"POST /incidents HTTP/1.1\r\nHost: x\r\n" + token + "Content-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: 9999999\r\n\r\n", 413},
		"two lengths":           {"POST /incidents HTTP/1.1\r\nHost: x\r\n" + token + "Content-Length: 5\r\nContent-Length: 6\r\n\r\n{}", 400},
		"two tokens":            {"GET /auth/me HTTP/1.1\r\nHost: x\r\n" + token + token + "\r\n", 400},
		"encoded slash":         {"GET /incidents%2f1 HTTP/1.1\r\nHost: x\r\n" + token + "\r\n", 404},
		"asterisk":              {"GET * HTTP/1.1\r\nHost: x\r\n\r\n", 404},
		"options of all":        {"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 200},
		"tunnel":                {"CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\n\r\n", 404},
		"no path":               {"GET http://x HTTP/1.1\r\nHost: x\r\n\r\n", 404},
		"old protocol":          {"GET /healthz HTTP/1.0\r\n\r\n", 200},
		"unread body, no token": {"POST /incidents HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", 401},
		"double slash":          {"GET //healthz HTTP/1.1\r\nHost: x\r\n\r\n", 404},
		"query is not UTF-8":    {"GET /incidents?q=%ff HTTP/1.1\r\nHost: x\r\n" + token + "\r\n", 422},
		"path not well-formed":  {"GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n", 400},
		"no host":               {"GET /healthz HTTP/1.1\r\n\r\n", 400},
		"no HTTP":               {"hello\r\n\r\n", 400},
		"bad header":            {"GET /healthz HTTP/1.1\r\nHost: x\r\nBad Name: x\r\n\r\n", 400},
		"unknown version":       {"GET /healthz HTTP/9.9\r\nHost: x\r\n\r\n", 400},
		"unknown coding":        {"POST /incidents HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", 400},
		"query not well-formed": {"GET /incidents?q=%zz HTTP/1.1\r\nHost: x\r\n" + token + "\r\n", 422},
	} {
		response := exchange(t, address, test.send)
		if response.StatusCode != test.want {
			t.Errorf("%s: %d, want %d", name, response.StatusCode, test.want)
		}
		if response.StatusCode < http.StatusBadRequest {
			continue
		}
		var p struct{ Status int }
		if err := json.NewDecoder(response.Body).Decode(&p); err != nil || p.Status != test.want ||
			response.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: not a problem document: %v, %v, %v", name, response.Header, p, err)
		}
	}
}

// A handler's answer goes out as it is, however plain.
func TestListenerLeavesAnswersAlone(t *testing.T) {
	t.Parallel()
	for answer, want := range map[string]bool{
		"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n400 Bad Request":              true,
		"HTTP/1.1 400 Bad Request\r\nCache-Control: no-store\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\nx": false,
		"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\nok":                                    false,
		"{\"x\":\"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n\"}":                 false,
		"HTTP/1.1 ": false, "\r": false, "": false,
	} {
		if _, got := plainRefusal([]byte(answer)); got != want {
			t.Errorf("%q: %v", answer, got)
		}
	}
}

// A client that sends all of a body before it reads must get to read why it was
// refused.
func TestRefusedBodiesAreAnswered(t *testing.T) {
	t.Parallel()
	b := setup(t)
	address := b.serve()
	body := strings.Repeat("x", 9<<20)
	for target, want := range map[string]int{"POST /incidents": 413, "POST /categories": 405, "POST /nothing": 404, "PUT /categories": 403, "POST /incidents/batch": 415} {
		response := exchange(t, address, fmt.Sprintf("%s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s", target, b.reporter.token, len(body), body))
		if response.StatusCode != want {
			t.Errorf("%s: %d, want %d", target, response.StatusCode, want)
		}
	}
	response := exchange(t, address, fmt.Sprintf("POST /incidents HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(body), body))
	if response.StatusCode != 401 {
		t.Errorf("without a token: %d", response.StatusCode)
	}
}

func TestServerSettings(t *testing.T) {
	t.Parallel()
	s := NewHTTPServer(http.NotFoundHandler(), "127.0.0.1:1", slog.Default())
	if s.ReadHeaderTimeout != 10*time.Second || s.ReadTimeout <= s.ReadHeaderTimeout || s.WriteTimeout < s.ReadTimeout+classifyTimeout ||
		s.IdleTimeout <= 0 || s.MaxHeaderBytes < maxHeaderBytes || s.Addr != "127.0.0.1:1" {
		t.Errorf("%+v", s)
	}
}

// pipes is a listener whose connections are in memory, so that their deadlines
// are in virtual time.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	conn, ok := <-p
	if !ok {
		return nil, net.ErrClosed
	}
	return conn, nil
}

func (p pipes) Close() error   { return nil }
func (p pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }

// A header that is not complete after ten seconds ends the connection, and so
// does a connection without requests after a while.
func TestSlowClients(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		listener := make(pipes)
		server := NewHTTPServer(http.NotFoundHandler(), "", slog.New(slog.DiscardHandler))
		done := make(chan struct{})
		go func() { defer close(done); _ = server.Serve(listener) }()
		for send, want := range map[string]time.Duration{
			"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ": 10 * time.Second,
			"":                                      10 * time.Second,
			"GET / HTTP/1.1\r\nHost: x\r\n\r\n":     2 * time.Minute,
			"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nxx": time.Minute,
		} {
			ours, theirs := net.Pipe()
			listener <- theirs
			start := time.Now()
			go func() { _, _ = io.WriteString(ours, send) }()
			_, _ = io.Copy(io.Discard, ours)
			// Closing takes the server up to a second more.
			if took := time.Since(start); took < want || took > want+time.Second {
				t.Errorf("%q is ended after %s, want %s", send, took, want)
			}
			_ = ours.Close()
		}
		close(listener)
		_ = server.Close()
		<-done
	})
}
