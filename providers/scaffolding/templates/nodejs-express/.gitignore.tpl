/node_modules/
