/* nunchi error codes: what every public function returns when it does not return 0.
 * The sentence that goes with a code is read with nun_error(). */
/* SPDX-License-Identifier: MIT */
#ifndef NUNCHI_ERROR_H
#define NUNCHI_ERROR_H
#ifdef __cplusplus
extern "C" {
#endif

enum nun_code {
    NUN_OK = 0,
    NUN_EARG = -1,     /* the caller passed something outside the contract */
    NUN_ENOMEM = -2,   /* an allocation failed */
    NUN_EIO = -3,      /* the operating system refused a file or a socket */
    NUN_EFORMAT = -4,  /* a file or a request is malformed */
    NUN_ELIMIT = -5,   /* well formed, but over a limit of the limits table */
    NUN_EUNSUP = -6,   /* well formed and known, but this build does not do it */
    NUN_ENUMERIC = -7, /* a number that must be finite is not */
    NUN_ECONTEXT = -8, /* the sequence does not fit the context */
    NUN_ESTOP = -9,    /* cancelled by the caller */
};

/* The sentence of this thread's last failure: place, expected, found. Never NULL; empty when
 * nothing failed. Valid until the next nunchi call on the same thread. */
const char *nun_error(void);

/* A short English name of a code ("format", "limit", ...), for logs and JSON. Never NULL. */
const char *nun_code_name(int code);

#ifdef __cplusplus
}
#endif
#endif
