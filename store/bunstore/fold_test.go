package bunstore

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestFold(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                "",
		"Disk FULL":       "\x01disk\x01full",
		"10.0.0.1":        "\x0110\x010\x010\x011",
		"Ünïcödé":         "\x01unicode",
		"e\u0301té":       "\x01ete",
		"Straße Łódź Ærø": "\x01strasse\x01lodz\x01aero",
		"İstanbul ısı":    "\x01istanbul\x01isi",
		"ΟΔΟΣ":            "\x01οδοσ",
		"ｆｕｌｌ ﬁ":          "\x01full\x01fi",
		"サーバー":            "\x02サーバー",
		"ｻｰﾊﾞｰ":           "\x02サーバー",
		"ガ":               "\x02ガ",
		"社内VPN接続":         "\x02社内\x01vpn\x02接続",
		"한국어 서버":          "\x02한국어\x02서버",
		"我们,服务":           "\x02我们\x02服务",
		"🔥🔥 100€":         "\x02🔥🔥\x01100\x02€",
		"a\u200db":        "\x01ab",
		"مُحَمَّد":        "\x01محمد",
		"नेटवर्क":         "\x01नेटवर्क",
		"\x01\x02\x03 a":  "\x01a",
		"👩\u200d👩":        "\x02👩👩",
	} {
		if got := string(fold(nil, text)); got != want {
			t.Errorf("fold(%q) = %q, want %q", text, got, want)
		}
	}
}

func TestTokens(t *testing.T) {
	t.Parallel()
	if got, want := tokensOf("VPN 接続中", "x"), "vpn 接 接続 続 続中 中 x "; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	long := strings.Repeat("é", 100)
	if got := tokensOf(long, ""); len(got) != maxToken+1 || !utf8.ValidString(got) {
		t.Errorf("a long word became %q", got)
	}
}

func TestTextQuery(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		query, text string
		want        bool
	}{
		{"disk", "the Disk is full", true},
		{"disk", "disks", false},
		{"full disk", "disk full", true},
		{"10.0.0.1", "at 10.0.0.1:80", true},
		{"10.0.0.1", "1 0 0 10", false},
		{"0.0.1", "10.0.0.1", true},
		{"a_b", "a-b", true},
		{"务器", "服务器", true},
		{"服器", "服务器", false},
		{"服务器", "服务 务器", false},
		{"内vpn", "社内VPN接続", true},
		{"vpn接", "社内VPN接続", true},
		{"vpn続", "社内VPN接続", false},
		{"vp接", "社内VPN接続", false},
		{"内v", "社内VPN接続", false},
		{strings.Repeat("x", 65), strings.Repeat("x", 66), false},
		{strings.Repeat("x", 66), "a " + strings.Repeat("x", 66), true},
	} {
		q := parseText(test.query)
		if got := q.in(test.text, ""); got != test.want {
			t.Errorf("%q in %q: %v, want %v", test.query, test.text, got, test.want)
		}
	}
	if parseText(" \t\u3000") != nil {
		t.Error("a blank text is not no filter")
	}
	if q := parseText("disk !!!"); !q.impossible {
		t.Error("a word of punctuation was accepted")
	}
	if in := parseText("full disk").in("disk", "full"); !in {
		t.Error("words in title and description")
	}
	if parseText("disk-full").in("disk", "full") {
		t.Error("a word reaches from the title into the description")
	}
}

// FuzzSearch holds that a text is found by each of its words, and that the
// index finds all that the texts contain.
func FuzzSearch(f *testing.F) {
	for _, text := range []string{"Disk full", "社内VPN接続 エラー", "ß İ ﬁ \u0301", "10.0.0.1 🔥🔥", "กขค ๆ", strings.Repeat("漢", 40), "\xff\x00\x01"} {
		f.Add(text, text)
	}
	f.Fuzz(func(t *testing.T, text, other string) {
		tokens := make(map[string]bool)
		for token := range strings.FieldsSeq(tokensOf(text, "")) {
			tokens[token] = true
		}
		for _, word := range append(strings.Fields(text), strings.Fields(other)...) {
			q := parseText(word)
			if q == nil || q.impossible {
				continue
			}
			found := q.in(text, "")
			if !found && strings.Contains(" "+text+" ", " "+word+" ") {
				t.Errorf("%q is not found in %q", word, text)
			}
			if !found {
				continue
			}
			for term := range strings.SplitSeq(strings.Trim(q.match, `"`), `" "`) {
				if !tokens[term] {
					t.Errorf("%q is in %q, but the index does not find %q", word, text, term)
				}
			}
		}
	})
}

func BenchmarkTokens(b *testing.B) {
	for name, text := range map[string]string{
		"latin": strings.Repeat("The server is not responding to requests. ", 20),
		"han":   strings.Repeat("我们的服务器无法登录，请尽快处理。", 20),
		"viet":  strings.Repeat("Máy chủ không phản hồi yêu cầu. ", 20),
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				tokensOf("Title", text)
			}
		})
	}
}
