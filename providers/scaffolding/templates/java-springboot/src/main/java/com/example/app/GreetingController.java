package com.example.app;

import java.util.Map;
import org.springframework.http.HttpStatus;
import org.springframework.web.bind.annotation.ExceptionHandler;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.RequestParam;
import org.springframework.web.bind.annotation.ResponseStatus;
import org.springframework.web.bind.annotation.RestController;

/** The routes. */
@RestController
public class GreetingController {

    private final Greeter greeter;

    GreetingController(Greeter greeter) {
        this.greeter = greeter;
    }

    @GetMapping("/healthz")
    String healthz() {
        return "ok";
    }

    @GetMapping("/greeting")
    Greeting greeting(@RequestParam(name = "name", defaultValue = "World") String name) {
        return greeter.greet(name);
    }

    @ExceptionHandler(IllegalArgumentException.class)
    @ResponseStatus(HttpStatus.BAD_REQUEST)
    Map<String, String> refuse(IllegalArgumentException error) {
        return Map.of("error", error.getMessage());
    }
}
