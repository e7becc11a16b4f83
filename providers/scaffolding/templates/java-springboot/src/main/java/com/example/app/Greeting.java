package com.example.app;

/** One greeting; numbers count from 1. */
public record Greeting(long number, String text) {
}
