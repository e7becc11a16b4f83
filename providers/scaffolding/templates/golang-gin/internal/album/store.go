// Package album keeps a catalogue of albums in memory and serves it over HTTP.
package album

import (
	"sort"
	"sync"
)

// Album is one record of the catalogue. Price is in cents.
type Album struct {
	ID     string `json:"id" binding:"required"`
	Title  string `json:"title" binding:"required"`
	Artist string `json:"artist" binding:"required"`
	Price  int    `json:"price" binding:"gte=0"`
}

// Samples is what a new catalogue starts with.
func Samples() []Album {
	return []Album{
		{ID: "1", Title: "Blue Train", Artist: "John Coltrane", Price: 5699},
		{ID: "2", Title: "Jeru", Artist: "Gerry Mulligan", Price: 1799},
	}
}

// Store holds albums by id. It is safe for concurrent use.
type Store struct {
	mu     sync.RWMutex
	albums map[string]Album
}

// NewStore makes a store with these albums in it.
func NewStore(albums ...Album) *Store {
	store := &Store{albums: make(map[string]Album, len(albums))}
	for _, one := range albums {
		store.albums[one.ID] = one
	}
	return store
}

// All lists every album, sorted by id.
func (s *Store) All() []Album {
	s.mu.RLock()
	defer s.mu.RUnlock()
	found := make([]Album, 0, len(s.albums))
	for _, one := range s.albums {
		found = append(found, one)
	}
	sort.Slice(found, func(i, j int) bool { return found[i].ID < found[j].ID })
	return found
}

// Get finds an album by id.
func (s *Store) Get(id string) (Album, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	one, ok := s.albums[id]
	return one, ok
}

// Add puts a new album in. It reports false if the id is taken.
func (s *Store) Add(one Album) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, taken := s.albums[one.ID]; taken {
		return false
	}
	s.albums[one.ID] = one
	return true
}
