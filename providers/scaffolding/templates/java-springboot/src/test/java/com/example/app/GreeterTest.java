package com.example.app;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import org.junit.jupiter.api.Test;

class GreeterTest {

    private final Greeter greeter = new Greeter();

    @Test
    void countsFromOne() {
        assertEquals(new Greeting(1, "Hello, Ann!"), greeter.greet(" Ann "));
        assertEquals(2, greeter.greet("Bob").number());
    }

    @Test
    void refusesWhatIsNoName() {
        assertThrows(IllegalArgumentException.class, () -> greeter.greet("  "));
        assertThrows(IllegalArgumentException.class, () -> greeter.greet("x".repeat(101)));
    }
}
