module [[ .App.Module ]]

go 1.18
