package auth

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
)

// cheap makes hashes that cost next to nothing.
var cheap = Params{MemoryKiB: 64, Passes: 1, Lanes: 1}

func TestHashAndVerify(t *testing.T) {
	t.Parallel()
	encoded, err := HashPassword("correct horse")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(encoded, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("encoded as %s", encoded)
	}
	for password, want := range map[string]bool{
		"correct horse": true, "correct horsE": false, "": false, "correct horse ": false, "correct horse\x00": false,
	} {
		if got, err := Verify(encoded, password); got != want || err != nil {
			t.Errorf("Verify(%q) = %v, %v", password, got, err)
		}
	}
	if again, _ := HashPassword("correct horse"); again == encoded {
		t.Error("two hashes have the same salt")
	}
}

func TestPasswordsAreNormalized(t *testing.T) {
	t.Parallel()
	encoded, err := hashWith("cafe\u0301 au lait\r\n", cheap)
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := Verify(encoded, "café au lait\n"); !ok || err != nil {
		t.Errorf("the composed spelling does not match: %v", err)
	}
}

func TestVerifyMalformed(t *testing.T) {
	t.Parallel()
	good, err := hashWith("password", cheap)
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(good, "$")
	with := func(i int, s string) string {
		p := append([]string(nil), parts...)
		p[i] = s
		return strings.Join(p, "$")
	}
	for _, encoded := range []string{
		"", "password", "$$$$$", good + "$", "x" + good, with(1, "argon2i"), with(2, "v=16"), with(2, ""),
		with(3, "m=64,t=1"), with(3, "m=64,t=1,p=1,x=1"), with(3, "m=-64,t=1,p=1"), with(3, "m=064,t=1,p=1"),
		with(3, "m=4294967295,t=1,p=1"), with(3, "m=64,t=0,p=1"), with(3, "m=64,t=100,p=1"), with(3, "m=64,t=1,p=0"),
		with(3, "m=64,t=1,p=300"), with(4, ""), with(4, "!!!!"), with(5, ""), with(5, "AAAA"), with(5, parts[5]+"="),
	} {
		if ok, err := Verify(encoded, "password"); ok || !errors.Is(err, ErrMalformedHash) {
			t.Errorf("Verify(%q) = %v, %v", encoded, ok, err)
		}
	}
}

func TestOutdatedHash(t *testing.T) {
	t.Parallel()
	encoded, err := hashWith("password", cheap)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		params   Params
		outdated bool
	}{{cheap, false}, {Params{MemoryKiB: 128, Passes: 1, Lanes: 1}, true}, {Params{MemoryKiB: 64, Passes: 2, Lanes: 1}, true}} {
		match, outdated, err := NewHasher(test.params).Verify(encoded, "password")
		if !match || outdated != test.outdated || err != nil {
			t.Errorf("%+v: %v, %v, %v", test.params, match, outdated, err)
		}
	}
}

func TestHasherTakesTurns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := NewHasher(cheap)
		release, err := h.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan func(), maxWaiting)
		for range maxWaiting {
			go func() {
				next, err := h.Acquire(t.Context())
				if err != nil {
					t.Error(err)
				}
				done <- next
			}()
		}
		synctest.Wait()
		if len(done) > 0 {
			t.Fatal("two had the turn at once")
		}
		if _, err := h.Acquire(t.Context()); !errors.Is(err, ErrBusy) {
			t.Errorf("with a full queue: %v", err)
		}
		for range maxWaiting {
			release()
			release = <-done
			synctest.Wait()
			if len(done) > 0 {
				t.Fatal("two had the turn at once")
			}
		}
		release()
		if release, err = h.Acquire(t.Context()); err != nil {
			t.Fatal(err)
		}
		release()
	})
}

func TestHasherGivesUpWithItsContext(t *testing.T) {
	t.Parallel()
	h := NewHasher(cheap)
	release, err := h.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 2 * maxWaiting {
		if _, err := h.Acquire(ctx); !errors.Is(err, context.Canceled) {
			t.Fatalf("with an ended context: %v", err)
		}
	}
	release()
	if release, err = h.Acquire(t.Context()); err != nil {
		t.Fatal(err)
	}
	release()
}

func TestCheckPassword(t *testing.T) {
	t.Parallel()
	for password, ok := range map[string]bool{
		"1234567": false, "12345678": true, strings.Repeat("a", 128): true, strings.Repeat("a", 129): false,
		"пароль12": true, "пароль1": false, "        ": false, "pass\x00word": false, "pass word\t": true,
		"e\u0301e\u0301e\u0301e\u0301e\u0301e\u0301e\u0301": false, strings.Repeat("🚒", 128): true,
	} {
		if message := CheckPassword(password); (message == "") != ok {
			t.Errorf("CheckPassword(%q) = %q", password, message)
		}
	}
}

func TestCheckEmail(t *testing.T) {
	t.Parallel()
	for email, ok := range map[string]bool{
		"ada@example.org": true, "admin@localhost": true, "Ada.Lovelace+x@Example.ORG": true, "o'brien@example.org": true,
		"müller@münchen.example": true, "用户@例子.广告": true, strings.Repeat("a", 64) + "@b.example": true,
		"": false, "ada": false, "@example.org": false, "ada@": false, "ada@@example.org": false, "a b@example.org": false,
		"ada@exa mple.org": false, ".ada@example.org": false, "ada.@example.org": false, "a..b@example.org": false,
		"ada@example..org": false, "ada@.org": false, "ada@example.org.": false, "ada@-example.org": false,
		"ada@example-.org": false, "ada@exam_ple.org": false, "<ada@example.org>": false, "ada@[127.0.0.1]": false,
		`"ada"@example.org`: false, "ada@example.org\n": false, "ada@example.org\x00": false, "ada\u200b@example.org": false,
		strings.Repeat("a", 65) + "@b.example": false, "a@" + strings.Repeat("b", 64) + ".example": false,
		"a@" + strings.Repeat("b.", 130) + "example": false, "Ada <ada@example.org>": false,
	} {
		if message := CheckEmail(email); (message == "") != ok {
			t.Errorf("CheckEmail(%q) = %q", email, message)
		}
	}
	if got := NormalizeEmail("ADA@Example.Org"); got != "ada@example.org" {
		t.Errorf("NormalizeEmail = %q", got)
	}
}
