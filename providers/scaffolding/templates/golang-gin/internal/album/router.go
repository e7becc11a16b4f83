package album

import (
	"net/http"

	"github.com/gin-gonic/gin"
)

// Router serves a store:
//
//	GET  /healthz     whether the service is up
//	GET  /albums      all albums
//	GET  /albums/:id  one album
//	POST /albums      adds one
func Router(store *Store) http.Handler {
	gin.SetMode(gin.ReleaseMode)
	router := gin.New()
	router.Use(gin.Recovery())
	router.GET("/healthz", func(c *gin.Context) { c.String(http.StatusOK, "ok") })
	router.GET("/albums", func(c *gin.Context) { c.JSON(http.StatusOK, store.All()) })
	router.GET("/albums/:id", func(c *gin.Context) { get(c, store) })
	router.POST("/albums", func(c *gin.Context) { add(c, store) })
	return router
}

func get(c *gin.Context, store *Store) {
	found, ok := store.Get(c.Param("id"))
	if !ok {
		c.JSON(http.StatusNotFound, gin.H{"error": "no such album"})
		return
	}
	c.JSON(http.StatusOK, found)
}

func add(c *gin.Context, store *Store) {
	var wanted Album
	if err := c.ShouldBindJSON(&wanted); err != nil {
		c.JSON(http.StatusBadRequest, gin.H{"error": err.Error()})
		return
	}
	if !store.Add(wanted) {
		c.JSON(http.StatusConflict, gin.H{"error": "this id is taken"})
		return
	}
	c.JSON(http.StatusCreated, wanted)
}
