module [[ .App.Module ]]

go 1.20

require github.com/gin-gonic/gin v1.10.0
