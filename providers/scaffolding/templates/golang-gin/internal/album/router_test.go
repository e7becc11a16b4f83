package album

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func request(t *testing.T, method, path, body string) *httptest.ResponseRecorder {
	t.Helper()
	answer := httptest.NewRecorder()
	Router(NewStore(Samples()...)).ServeHTTP(answer, httptest.NewRequest(method, path, strings.NewReader(body)))
	return answer
}

func TestRoutes(t *testing.T) {
	cases := []struct {
		name, method, path, body string
		status                   int
		contains                 string
	}{
		{"up", http.MethodGet, "/healthz", "", http.StatusOK, "ok"},
		{"one album", http.MethodGet, "/albums/1", "", http.StatusOK, "Blue Train"},
		{"no such album", http.MethodGet, "/albums/9", "", http.StatusNotFound, "no such album"},
		{"add", http.MethodPost, "/albums", `{"id":"3","title":"T","artist":"A","price":1}`, http.StatusCreated, `"id":"3"`},
		{"add a taken id", http.MethodPost, "/albums", `{"id":"1","title":"T","artist":"A"}`, http.StatusConflict, "taken"},
		{"add without title", http.MethodPost, "/albums", `{"id":"3","artist":"A"}`, http.StatusBadRequest, "Title"},
		{"add nonsense", http.MethodPost, "/albums", `{`, http.StatusBadRequest, "error"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			answer := request(t, c.method, c.path, c.body)
			if answer.Code != c.status || !strings.Contains(answer.Body.String(), c.contains) {
				t.Errorf("got %d %s, want %d with %q", answer.Code, answer.Body, c.status, c.contains)
			}
		})
	}
}

func TestAlbumsAreSorted(t *testing.T) {
	var found []Album
	if err := json.Unmarshal(request(t, http.MethodGet, "/albums", "").Body.Bytes(), &found); err != nil {
		t.Fatal(err)
	}
	if len(found) != 2 || found[0].ID != "1" || found[1].ID != "2" {
		t.Errorf("got %+v", found)
	}
}
