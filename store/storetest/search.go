package storetest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/incidentd/incidentd/store"
)

// find returns the titles of the incidents that a text finds, oldest first.
func (b *bench) find(text string) []string {
	b.Helper()
	titles := []string{}
	for _, i := range b.list(store.IncidentQuery{Text: text, Sort: store.SortCreatedAsc}) {
		titles = append(titles, i.Title)
	}
	return titles
}

// finds is what a text finds, by the words in the table's documents.
type finds struct {
	text string
	want []string
}

// search puts documents in, each titled by its key and with its value as the
// description, and checks what texts find.
func (b *bench) search(documents [][2]string, cases []finds) {
	b.Helper()
	for _, d := range documents {
		b.createAs(b.reporter, d[0], d[1])
	}
	for _, c := range cases {
		b.equal(fmt.Sprintf("what %q finds", c.text), b.find(c.text), c.want)
	}
}

func searching() tests {
	return tests{
		"words are found in title and description, and all must be there": func(b *bench) {
			b.search([][2]string{
				{"alpha one", "The router is down in building seven."},
				{"beta two", "The router is slow."},
				{"gamma three", "Printer down."},
			}, []finds{
				{"router", []string{"alpha one", "beta two"}},
				{"router down", []string{"alpha one"}},
				{"down router", []string{"alpha one"}},
				{"beta slow", []string{"beta two"}},
				{"  printer \t down\n", []string{"gamma three"}},
				{"printer\u3000down", []string{"gamma three"}},
				{"printer printer", []string{"gamma three"}},
				{"printer router", nil},
				{"nowhere", nil},
			})
		},
		"case and accents do not matter": func(b *bench) {
			b.search([][2]string{
				{"de", "Die Tür lässt sich nicht öffnen"}, {"fr", "Le réseau est coupé, ça ne marche pas"},
				{"ru", "Сервер не отвечает"}, {"el", "Το δίκτυο δεν λειτουργεί"}, {"vi", "Máy chủ không phản hồi"},
				{"cs", "Přihlášení nefunguje"}, {"es", "La impresión falló ayer por la mañana"},
			}, []finds{
				{"OFFNEN", []string{"de"}}, {"öffnen tur", []string{"de"}}, {"RÉSEAU coupe", []string{"fr"}}, {"CA MARCHE", []string{"fr"}},
				{"СЕРВЕР", []string{"ru"}}, {"ΔΙΚΤΥΟ", []string{"el"}}, {"may khong phan hoi", []string{"vi"}},
				{"prihlaseni", []string{"cs"}}, {"MANANA fallo", []string{"es"}},
			})
		},
		"substrings in scripts without spaces": func(b *bench) {
			b.search([][2]string{
				{"zh", "我们的服务器无法登录,请尽快处理"}, {"zh2", "打印机在三楼没有反应"}, {"ja", "社内ネットワークが不通です"},
				{"ja2", "社内VPN接続エラーが出ます"}, {"ko", "서버가 응답하지 않습니다"}, {"th", "ระบบเครือข่ายล่มตั้งแต่เช้า"},
				{"km", "ប្រព័ន្ធបណ្តាញមិនដំណើរការ"}, {"lo", "ລະບົບເຄືອຂ່າຍລົ້ມ"}, {"my", "ကွန်ရက်ပျက်နေသည်"}, {"rare", "𠮷野家の端末"},
			}, []finds{
				{"服务器", []string{"zh"}}, {"务", []string{"zh"}}, {"无法", []string{"zh"}}, {"服务 登录", []string{"zh"}}, {"服录", nil}, {"器服", nil},
				{"我们的服务器无法登录", []string{"zh"}}, {"三", []string{"zh2"}}, {"处理", []string{"zh"}}, {"服务 打印", nil},
				{"ワーク", []string{"ja"}}, {"ネットワーク 不通", []string{"ja"}}, {"社内", []string{"ja", "ja2"}}, {"す", []string{"ja", "ja2"}},
				{"VPN", []string{"ja2"}}, {"vpn接続", []string{"ja2"}}, {"社内 vpn", []string{"ja2"}}, {"エラー", []string{"ja2"}},
				{"응답하", []string{"ko"}}, {"답", []string{"ko"}}, {"서버", []string{"ko"}}, {"서버 않습", []string{"ko"}}, {"버가 응", []string{"ko"}},
				{"เครือข่าย", []string{"th"}}, {"ล่ม", []string{"th"}}, {"ข", []string{"th"}}, {"ระบบ ล่ม", []string{"th"}},
				{"បណ្តាញ", []string{"km"}}, {"ເຄືອຂ່າຍ", []string{"lo"}}, {"ပျက်", []string{"my"}}, {"𠮷", []string{"rare"}}, {"野家", []string{"rare"}},
			})
		},
		"the syntax of full-text engines is literal": func(b *bench) {
			b.search([][2]string{
				{"plain", "alpha beta"}, {"or", "alpha or gamma"}, {"not", "not near and alpha"},
				{"marks", `title:alpha "quoted" (round) {curly} [square] ^caret star* plus+ -minus it's 50% a_b c\d e/f`},
			}, []finds{
				{"alpha OR beta", nil}, {"beta OR gamma", nil}, {"alpha OR gamma", []string{"or"}}, {"alpha NOT beta", nil},
				{"NOT alpha", []string{"not"}}, {"alpha AND beta", nil}, {"NEAR(alpha beta)", nil},
				{"title:alpha", []string{"marks"}}, {"description:alpha", nil}, {`"quoted"`, []string{"marks"}}, {`"quoted`, []string{"marks"}},
				{"(round)", []string{"marks"}}, {"(round", []string{"marks"}}, {"{curly}", []string{"marks"}}, {"[square]", []string{"marks"}},
				{"^caret", []string{"marks"}}, {"star*", []string{"marks"}}, {"plus+", []string{"marks"}}, {"-minus", []string{"marks"}},
				{"it's", []string{"marks"}}, {"50%", []string{"marks"}}, {"a_b", []string{"marks"}}, {`c\d`, []string{"marks"}}, {"e/f", []string{"marks"}},
				{"zz*", nil}, {"a%z", nil}, {`zz"`, nil}, {"zz' OR '1'='1", nil},
			})
		},
		"emoji are words": func(b *bench) {
			b.search([][2]string{{"fire", "Server room 🔥🔥"}, {"flag", "Office in 🇩🇪 closed"}, {"calm", "Server room quiet"}}, []finds{
				{"🔥", []string{"fire"}}, {"room 🔥", []string{"fire"}}, {"🇩🇪", []string{"flag"}}, {"🐧", nil}, {"server 🐧", nil}, {"server", []string{"fire", "calm"}},
			})
		},
		"odd input is answered": func(b *bench) {
			b.create("Something")
			for _, text := range []string{
				`"`, `""`, `"""`, "'", "*", "**", "(", ")", "()", "-", "^", ":", "+", "\\", "%", "_", "?", "!", ".", "…", "，", "。", " ", "\t\n", "\u3000",
				"AND", "OR", "NOT", "NEAR", "NEAR/2", "AND AND", "OR OR", "a AND", "AND a", "NOT NOT", "a:b:c", "title:", ":a", "{a b}:c", "- title:a",
				"\u0301", "e\u0301", "\u200b", "\u200d", "\u202e", "\ufeff", "\ufffd", "\ue000", "\U000E0001", "\U0010FFFF", "👩‍👩‍👧‍👦", "ｆｕｌｌ", "ﬁ", "İi", "ß",
				strings.Repeat("a", 200), strings.Repeat("漢", 200), strings.Repeat("a ", 100), strings.Repeat("漢 ", 100), strings.Repeat(`"`, 200), strings.Repeat("(", 200),
			} {
				if _, err := b.Incidents(b.ctx, store.IncidentQuery{Text: text, Sort: store.SortCreatedDesc, Limit: 10}); err != nil {
					b.Errorf("%q: %v", text, err)
				}
			}
		},
	}
}

func wording() tests {
	return tests{
		"changes are found, what was before is not": func(b *bench) {
			i := b.create("Walrus")
			b.create("Bystander")
			b.equal("the old word", b.find("walrus"), []string{"Walrus"})
			b.patch(i.ID, titled("Zebra"))
			b.equal("the new word", b.find("zebra"), []string{"Zebra"})
			b.equal("the old word in the description", b.find("walrus"), []string{"Zebra"})
			nothing := "Nothing"
			b.patch(i.ID, store.IncidentPatch{Description: &nothing})
			b.equal("the old word", b.find("walrus"), []string{})
			b.ok(b.DeleteIncident(b.ctx, everything(), b.by(), i.ID, nil))
			b.equal("the deleted word", b.find("zebra"), []string{})
		},
		"with other filters, in every order, page by page": func(b *bench) {
			all := mixed(b)
			b.create("Unmixed")
			for _, sort := range sorts() {
				q := store.IncidentQuery{Text: "incident mixed", Sort: sort, Limit: 3}
				b.equal(fmt.Sprint("all by ", sort), b.walk(q, func() {}), ids(selected(all, q)))
				q.States, q.Scope = []store.State{store.StateManual, store.StatePending}, owner(b.reporter)
				after := all[len(all)-10].CreatedAt
				q.CreatedAfter = &after
				b.equal(fmt.Sprint("some by ", sort), b.walk(q, func() {}), ids(selected(all, q)))
			}
			q := store.IncidentQuery{Text: "mixed", Sort: store.SortCreatedAsc, Skip: 7, Limit: 4}
			b.equal("the page behind 7", ids(b.list(q)), ids(selected(all, q))[7:11])
		},
		"an owner finds the own incidents": func(b *bench) {
			own := b.create("Secret")
			b.createAs(b.other, "Secret of another", "Secret")
			b.equal("the list", ids(b.list(store.IncidentQuery{Text: "secret", Scope: owner(b.reporter)})), []int64{own.ID})
		},
		"random texts in scripts without spaces": func(b *bench) {
			letters := []string{"服", "务", "器", "登", "录", "ネ", "ッ", "ト", "서", "버", "ล", "ม", "。", " "}
			randomTexts(b, letters, "", func(i store.Incident, word string) bool {
				return strings.Contains(i.Title, word) || strings.Contains(i.Description, word)
			})
		},
		"random words": func(b *bench) {
			words := []string{"net", "network", "work", "works", "a", "ab", "ba", "сеть", "сет", "été", "x1", "1x", "1", "10"}
			randomTexts(b, words, " ", func(i store.Incident, word string) bool {
				return slices.Contains(strings.Fields(i.Title+" "+i.Description), word)
			})
		},
		"every word of a long text is found": func(b *bench) {
			words := strings.Fields(strings.Repeat("lorem ipsum dolor ", 800))
			for n := range words {
				words[n] += fmt.Sprint(n)
			}
			i := b.createAs(b.reporter, "Long", strings.Join(words, " "))
			b.createAs(b.reporter, "Short", "lorem")
			for _, word := range slices.Concat(words[:3], words[1200:1203], words[len(words)-3:]) {
				b.equal("what "+word+" finds", ids(b.list(store.IncidentQuery{Text: word})), []int64{i.ID})
			}
		},
	}
}

// randomTexts makes texts of parts joined by a separator and checks what
// random words of the same parts find.
func randomTexts(b *bench, parts []string, separator string, has func(i store.Incident, word string) bool) {
	b.Helper()
	random := rand.New(rand.NewPCG(1, 2))
	text := func(n int) string {
		var chosen []string
		for range n {
			chosen = append(chosen, parts[random.IntN(len(parts))])
		}
		return strings.Join(chosen, separator)
	}
	items := make([]store.NewIncident, 60)
	for n := range items {
		items[n] = store.NewIncident{Title: text(1 + random.IntN(4)), Description: text(1 + random.IntN(12))}
	}
	created, err := b.CreateIncidents(b.ctx, b.reporter.ID, items, nil)
	b.ok(err)
	var hits int
	for range 300 {
		q := store.IncidentQuery{Text: text(1 + random.IntN(4)), Sort: store.SortCreatedAsc}
		words := strings.Fields(q.Text)
		if len(words) == 0 || strings.Contains(q.Text, "。") {
			continue
		}
		var want []int64
		for _, i := range created.Incidents {
			if !slices.ContainsFunc(words, func(word string) bool { return !has(i, word) }) {
				want = append(want, i.ID)
			}
		}
		hits += min(len(want), 1)
		b.equal(fmt.Sprintf("what %q finds", q.Text), ids(b.list(q)), want)
	}
	if hits < 50 {
		b.Errorf("only %d queries find anything", hits)
	}
}
