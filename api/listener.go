package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strconv"
)

// Listener lets net/http answer requests that it cannot read with problem
// documents too: it has no handler for them and writes plain text straight to
// the connection. It goes under servers without TLS; under TLS such answers
// stay as they are.
func Listener(l net.Listener) net.Listener { return problemListener{l} }

type problemListener struct{ net.Listener }

func (l problemListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err //nolint:wrapcheck // net/http looks for the errors of package net
	}
	return problemConn{conn}, nil
}

type problemConn struct{ net.Conn }

// CloseWrite lets the client read the last answer to its end; net/http asks for
// it by name.
func (c problemConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite() //nolint:wrapcheck // passed through
	}
	return nil
}

// Write replaces an answer of net/http's own, which comes in one piece.
func (c problemConn) Write(b []byte) (int, error) {
	if status, ok := plainRefusal(b); ok {
		if _, err := c.Conn.Write(refusal(status)); err != nil {
			return 0, err //nolint:wrapcheck // passed through
		}
		return len(b), nil
	}
	return c.Conn.Write(b) //nolint:wrapcheck // passed through
}

// plainHeaders are what net/http writes after the status line of a request
// that it could not read. Answers of handlers have other headers as well.
var plainHeaders = []byte("\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n")

// plainRefusal reports whether these are the bytes of such an answer, and its
// status.
func plainRefusal(b []byte) (status int, ok bool) {
	const protocol = "HTTP/1.1 "
	end := bytes.IndexByte(b[:min(len(b), 256)], '\r')
	if end < len(protocol)+3 || !bytes.HasPrefix(b, []byte(protocol)) || !bytes.HasPrefix(b[end:], plainHeaders) {
		return 0, false
	}
	status, err := strconv.Atoi(string(b[len(protocol) : len(protocol)+3]))
	return status, err == nil && status >= http.StatusBadRequest
}

// refusal is the whole answer to a request that could not be read, whose address
// is not known. What net/http calls its own lack (501, 505) is the request's
// fault: a server error is never due to what a client sends.
func refusal(status int) []byte {
	k, detail := kindSyntax, "The request is not well-formed HTTP/1.1."
	if status == http.StatusRequestHeaderFieldsTooLarge {
		k, detail = kindHeaders, fmt.Sprintf("The headers have more than %d bytes.", maxHeaderBytes)
	}
	// Strings and a number can always be encoded.
	body, _ := json.Marshal(problemBody{
		Type: problemType + k.name, Title: k.title, Status: k.status, Detail: detail,
	})
	var out bytes.Buffer
	fmt.Fprintf(&out, "HTTP/1.1 %d %s\r\nCache-Control: no-store\r\nConnection: close\r\nContent-Length: %d\r\n"+
		"Content-Type: application/problem+json\r\nX-Content-Type-Options: nosniff\r\n\r\n%s",
		k.status, http.StatusText(k.status), len(body), body)
	return out.Bytes()
}
